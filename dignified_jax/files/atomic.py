"""Files written whole or not at all: a kill, or a full disk, leaves what was there before."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
from collections.abc import Iterator

from dignified_jax.files import process

_PARTIAL = re.compile(r".+\.(\d+)\.partial", re.DOTALL)


def write_text(file: str | pathlib.Path, text: str, errors: str = "strict") -> None:
    """Writes a UTF-8 text; `errors` is of what UTF-8 has no bytes for, as in `str.encode`.

    Raises:
      OSError: names the file.
    """
    with replacing(file) as partial:
        partial.write_text(text, encoding="utf-8", errors=errors)


def write_json(file: str | pathlib.Path, content: object) -> None:
    """Writes a JSON value, indented.

    Raises:
      OSError: names the file.
    """
    write_text(file, json.dumps(content, indent=2) + "\n")


@contextlib.contextmanager
def replacing(file: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """A name to write to inside; what lies there in the end takes the name of `file` at once.

    Nothing stays under that name where the writing failed, and `file` is as it was.

    Raises:
      OSError: names `file`.
    """
    file = pathlib.Path(file)
    # Its own for each process: two that write the same file don't write into each other's.
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    with named(file):
        try:
            yield partial
            partial.replace(file)
        except BaseException:
            with contextlib.suppress(OSError):  # what went wrong first is what matters
                partial.unlink(missing_ok=True)
            raise


def remove_leftovers(directory: str | pathlib.Path) -> None:
    """Removes what writers that were killed left half-written in `directory` and the ones in it.

    Those of processes of this machine that live stay. Nobody may be writing there on another one.
    """
    for pattern in ("*.partial", "*/*.partial"):
        for file in pathlib.Path(directory).glob(pattern):
            match = _PARTIAL.fullmatch(file.name)
            if (
                match
                and not file.is_symlink()
                and file.is_file()
                and not process.alive(int(match[1]))
            ):
                with contextlib.suppress(OSError):  # they harm nothing
                    file.unlink()


@contextlib.contextmanager
def named(file: str | pathlib.Path) -> Iterator[None]:
    """Puts the file's name into an OSError, which that of a full disk does not have."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(file)) from error
