"""Which reader a source wants."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dignified_jax.console.waiting import ShowCount, uncounted
from dignified_jax.data.sources.csv_rows import csv_records
from dignified_jax.data.sources.hub import hub_records
from dignified_jax.data.sources.json_rows import json_records
from dignified_jax.data.sources.parquet_rows import parquet_records
from dignified_jax.data.sources.record import RawRecord

ACCEPTED = (
    "a .jsonl, .json, .csv (each also as .gz) or .parquet file, a directory that "
    "datasets.load_dataset reads, or a hub id 'owner/name', 'owner/name@revision:split' or "
    "'owner/name@revision:configuration:split'"
)
_TEXTS = (".jsonl", ".json", ".csv")
_POINTER = b"version https://git-lfs.github.com/spec/"
_HUB_ID = re.compile(
    r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+(?:/[\w.-]+)*))?"
    r"(?::(?P<config>[\w.+-]+)(?=:))?(?::(?P<split>[\w.-]+))?"
)


def read_records(
    source: str | Path,
    required: Sequence[str] = (),
    hub_config: str | None = None,
) -> list[RawRecord]:
    """Returns all records of a file, directory or hub data set."""
    return list(stream_records(source, required, hub_config))


def stream_records(
    source: str | Path,
    required: Sequence[str] = (),
    hub_config: str | None = None,
    count: ShowCount = uncounted,
) -> Iterator[RawRecord]:
    """Yields the records of a file, directory or hub data set.

    Args:
      source: as in `read_rows`.
      required: columns that a table must have.
      hub_config: configuration of a hub data set that has several, where its id names none.
      count: told how much has been read, and how much there is, in bytes or rows.

    Raises:
      FileNotFoundError: no such file, and not a hub id.
      ValueError: a file of an unknown kind, or one that can't be read or expands too far.
      BadRowsError: a table that lacks a required column or repeats one.
    """
    path, name = Path(source), str(source)
    kind = _kind(path)
    if path.is_dir():
        if (path / "state.json").is_file():
            raise ValueError(
                f"{name}: a folder of save_to_disk, with its rows in Arrow; write them with "
                "to_parquet or to_json and name that file"
            )
        yield from hub_records(name, str(path), "train", required, count)
    elif path.is_file():
        _refuse_pointer(name, path)
        if kind == ".parquet":
            yield from parquet_records(name, path, required, count)
        elif kind == ".csv":
            yield from csv_records(name, path, required, count)
        elif kind in _TEXTS:
            yield from json_records(name, path, kind, count)
        else:
            raise ValueError(f"{name}: unknown kind of file {path.suffix!r}; expected {ACCEPTED}")
    else:
        yield from _named(source, required, hub_config, count)


def _named(
    source: str | Path, required: Sequence[str], hub_config: str | None, count: ShowCount
) -> Iterator[RawRecord]:
    """The records of what is no path: a split of a directory, or a hub's set."""
    path, name = Path(source), str(source)
    head, _, split = name.rpartition(":")
    if head and split and Path(head).is_dir():
        yield from hub_records(name, head, split, required, count)
        return
    # A Path, or a name such as data/train.jsonl, means a file even though it reads like a hub id.
    there = path.parent != Path() and path.parent.is_dir()  # so is one in an existing directory
    is_file_name = isinstance(source, Path) or _kind(path) in (*_TEXTS, ".parquet") or there
    match = _HUB_ID.fullmatch(name)
    if is_file_name or match is None:
        raise FileNotFoundError(f"{name}: no such file; expected {ACCEPTED}")
    yield from hub_records(
        name,
        match["repository"],
        match["split"] or "train",
        required,
        count,
        match["config"] or hub_config,
        match["revision"],
    )


def _kind(path: Path) -> str:
    """The ending that tells the kind: ".jsonl" of rows.JSONL and of rows.jsonl.gz."""
    ending = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if ending == ".gz" and inner in _TEXTS else ending


def _refuse_pointer(name: str, path: Path) -> None:
    with path.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise ValueError(
                f"{name}: a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"
            )
