"""Directories that are written whole, and written again without touching what others put there.

A manifest in the directory names the files that we wrote; no other file is ever removed or
replaced.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator

from dignified_jax.files import atomic

MANIFEST = ".written_by_dignified_jax.json"


@contextlib.contextmanager
def writing(
    directory: str | pathlib.Path,
    overwrite: bool = False,
    ours: Callable[[str], bool] = lambda name: False,
) -> Iterator[pathlib.Path]:
    """A directory to write to inside; what lies there in the end is in `directory`.

    Args:
      directory: made if need be; as it was, if the writing fails.
      overwrite: whether what an earlier writing left there may be replaced.
      ours: whether a file is of an earlier writing, by its relative path, where no manifest says.

    Raises:
      ValueError: `directory` is not empty, or with `overwrite`, a file of others is in the way.
    """
    directory = pathlib.Path(directory)
    former = check(directory, overwrite, ours)
    exists = directory.is_dir()
    # On the same file system, also where `directory` is one of its own.
    partial = directory / ".partial" if exists else directory.with_name(directory.name + ".partial")
    if partial.is_dir():
        if _listed(partial) is None and any(partial.iterdir()):
            raise ValueError(f"{partial}: is in the way; move it")
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    _write_manifest(partial, [])  # says that it may be removed, should we be killed
    try:
        yield partial
        written = [name for name in _files(partial) if name != MANIFEST]
        _refuse_others(directory, former, written)
        _write_manifest(partial, written)
        if not exists:
            partial.rename(directory)
        else:
            _exchange(partial, directory, former, written)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def check(
    directory: str | pathlib.Path,
    overwrite: bool = False,
    ours: Callable[[str], bool] = lambda name: False,
) -> list[str]:
    """Returns the files of an earlier writing there; arguments and errors as for `writing`."""
    directory = pathlib.Path(directory)
    if not directory.exists() and not directory.is_symlink():
        return []
    if not directory.is_dir():
        raise ValueError(f"{directory}: is not a directory")
    there = (name for name in _walk(directory) if name != MANIFEST)
    first = None if overwrite else next(there, None)
    if first is not None:
        raise ValueError(
            f"{directory}: is not empty (it has {first}); choose another directory, or "
            "--overwrite to replace what was written there before; files of others stay"
        )
    listed = _listed(directory)
    return [name for name in sorted(there) if (ours(name) if listed is None else name in listed)]


def _exchange(
    partial: pathlib.Path, directory: pathlib.Path, former: list[str], written: list[str]
) -> None:
    """Puts the files of one writing in the place of another's, which a kill leaves removable."""
    _write_manifest(directory, sorted({*former, *written}))
    for name in former:
        (directory / name).unlink(missing_ok=True)
        for parent in (directory / name).parents:
            if parent == directory or any(parent.iterdir()):
                break
            parent.rmdir()
    for name in written:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).replace(directory / name)
    _write_manifest(directory, written)
    shutil.rmtree(partial)


def _refuse_others(directory: pathlib.Path, former: list[str], written: list[str]) -> None:
    for name in written:
        file = directory / name
        if (file.exists() or file.is_symlink()) and name not in former:
            raise ValueError(
                f"{file}: was not written by an earlier export; move it, or choose another "
                "directory"
            )


def _files(directory: pathlib.Path) -> list[str]:
    return sorted(_walk(directory))


def _walk(directory: pathlib.Path) -> Iterator[str]:
    """Relative paths of all that is no directory, but for what an interrupted writing left."""
    paths = (path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir())
    names = (path.relative_to(directory) for path in paths)
    return (str(name) for name in names if name.parts[0] != ".partial")


def _listed(directory: pathlib.Path) -> set[str] | None:
    """The files that the manifest names; None without one that can be read."""
    try:
        names = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {str(name) for name in names}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write_manifest(directory: pathlib.Path, names: list[str]) -> None:
    atomic.write_json(directory / MANIFEST, {"files": names})
