"""Bad rows: an error that lists all of them, or setting them aside, so that none is ever lost."""

import base64
import dataclasses
import json
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dignified_jax.data.schema import BadRowsError, PreferenceRow, RowProblem
from dignified_jax.data.schema.conversation import as_objects
from dignified_jax.data.sources import RawRecord
from dignified_jax.data.store.texts import Spilled
from dignified_jax.files import atomic

_FIELDS = {"file", "row", "problems", "raw"}


@dataclasses.dataclass(frozen=True)
class CheckedRecord:
    """A record and what it gives: rows, or problems."""

    record: RawRecord
    rows: Sequence[PreferenceRow]
    problems: Sequence[RowProblem]


@dataclasses.dataclass(frozen=True)
class BadRowPolicy:
    """The policy of a reader, checked.

    Attributes:
      on_bad_row: "error", or "skip" to set bad rows aside in `rejected_path`.
      rejected_path: JSON lines {"file", "row", "problems", "raw"}; with "skip" only.

    Raises:
      ValueError: an unknown policy, or a path that contradicts it.
    """

    on_bad_row: str
    rejected_path: str | Path | None

    def __post_init__(self) -> None:
        if self.on_bad_row not in ("error", "skip"):
            raise ValueError(f"on_bad_row: expected 'error' or 'skip', found {self.on_bad_row!r}")
        if (self.on_bad_row == "skip") != (self.rejected_path is not None):
            raise ValueError(
                "rejected_path: expected a path with on_bad_row='skip' and None with 'error', "
                f"found {self.rejected_path!r} with {self.on_bad_row!r}"
            )

    def apply(
        self, source: str | Path, checked: Iterable[CheckedRecord]
    ) -> Sequence[PreferenceRow]:
        """Returns the good rows, in order; of very many, most are on disk.

        Raises:
          BadRowsError: there are no records; or bad ones that are not to be skipped, or that are
            all there is. All of them are listed.
          ValueError: `rejected_path` holds something other than rejected rows.

        Warns:
          UserWarning: with "skip", the number of records set aside.
        """
        count, files = 0, set()
        rejected: list[tuple[RawRecord, Sequence[RowProblem]]] = []

        def good() -> Iterator[PreferenceRow]:
            nonlocal count
            for each in checked:
                count += 1
                files.add(each.record.file)
                if each.problems:
                    rejected.append((each.record, each.problems))
                for row in each.rows:
                    yield dataclasses.replace(row, file=each.record.file, row=each.record.row)

        rows = Spilled(good())
        if not count:
            raise BadRowsError([RowProblem(str(source), 0, "file", "at least one row", "none")])
        if rejected:
            if self.rejected_path is None or not len(rows):
                raise BadRowsError(problem for _, problems in rejected for problem in problems)
            write_rejected(self.rejected_path, rejected, files)
            message = f"{source}: {len(rejected)} of {count} rows are bad and were skipped"
            warnings.warn(f"{message}; they are in {self.rejected_path}", stacklevel=3)
        elif self.rejected_path is not None:
            forget(self.rejected_path, files)
        return rows


def write_rejected(
    path: str | Path,
    rejected: Sequence[tuple[RawRecord, Sequence[RowProblem]]],
    files: Collection[str],
) -> None:
    """Write bad records of one source as JSON lines {"file", "row", "problems", "raw"}.

    `raw` is the record's text or object; bytes that are not UTF-8 stand in base64, which
    `"raw_encoding": "base64"` says. Lines that an earlier call wrote for other sources stay,
    and those for the same source are replaced, so a rerun neither loses nor doubles rows.

    Args:
      path: to write.
      rejected: the records.
      files: all that the source's records are of.

    Raises:
      ValueError: `path` holds something other than rejected rows; it is left untouched.
    """
    kept = [line for line, file, _ in _existing(Path(path)) if file not in files]
    _write(Path(path), kept + [_line(record, problems) for record, problems in rejected])


def forget(path: str | Path, files: Collection[str]) -> None:
    """Takes out the lines that earlier calls wrote for files without bad rows; an empty file goes.

    Raises:
      ValueError: `path` holds something other than rejected rows; it is left untouched.
    """
    lines = _existing(Path(path))
    kept = [line for line, file, _ in lines if file not in files]
    if not kept:
        Path(path).unlink(missing_ok=True)
    elif len(kept) < len(lines):
        _write(Path(path), kept)


def set_aside(
    path: str | Path, rejected: Sequence[tuple[PreferenceRow, Sequence[RowProblem]]]
) -> None:
    """Adds rows that turned out bad after they were read, such as those no template can render.

    `raw` is the row as an object, in the columns of its source; of a row of pairs it is each pair,
    or where their rejects alone are bad, each of those. Lines of the same rows, from an earlier
    run, are replaced.

    Raises:
      ValueError: `path` holds something other than rejected rows; it is left untouched.
    """
    records = [each for row, problems in rejected for each in _records(row, problems)]
    places = {(record.file, record.row) for record, _ in records}
    kept = [line for line, *place in _existing(Path(path)) if tuple(place) not in places]
    _write(Path(path), kept + [_line(record, problems) for record, problems in records])


def _records(
    row: PreferenceRow, problems: Sequence[RowProblem]
) -> list[tuple[RawRecord, Sequence[RowProblem]]]:
    """The bad ones of the records that a row came from, several where pairs were joined."""
    if row.pairs:
        shared = {"prompt": as_objects(row.prompt), "chosen": row.golden}
        pairs = {
            number: shared | {"rejected": row.rejects[name], "dimension": name}
            for name, number in row.pairs.items()
        }
        of = dict.fromkeys(pairs, problems)
        if problems and all(problem.field == "rejected" for problem in problems):
            of = {n: own for n in pairs if (own := [each for each in problems if each.row == n])}
        return [(RawRecord(row.file, n, None, pairs[n]), own) for n, own in of.items()]
    texts = {"prompt": as_objects(row.prompt), "golden": row.golden, "mask": list(row.mask)}
    origin = {name: getattr(row, name) for name in ("seed_scene", "context", "trigger")}
    columns = texts | {f"reject_{name}": text for name, text in row.rejects.items()} | origin
    return [(RawRecord(row.file, row.row, None, columns), problems)]


def _write(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, "".join(f"{line}\n" for line in lines))


def _existing(path: Path) -> list[tuple[str, str, int]]:
    """(line, source file, row in it) of each row set aside before."""
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
    except ValueError as error:
        raise _not_ours(path) from error
    for record in records:
        if not isinstance(record, dict) or not record.keys() >= _FIELDS:
            raise _not_ours(path)
    places = ((record["file"], record["row"]) for record in records)
    return [(line, *place) for line, place in zip(lines, places, strict=True)]


def _not_ours(path: Path) -> ValueError:
    message = f"{path}: expected no file or one of rejected rows, found another"
    return ValueError(f"{message}; it was left as it is")


def _line(record: RawRecord, problems: Sequence[RowProblem]) -> str:
    fields: dict[str, Any] = {
        "file": record.file,
        "row": record.row,
        "problems": [
            {"field": problem.field, "expected": problem.expected, "found": problem.found}
            for problem in problems
        ],
        "raw": record.raw,
    }
    if isinstance(record.raw, str | bytes):
        fields |= _text_or_base64(record.raw)
    # ASCII escapes keep even a lone surrogate readable by any JSON reader.
    return json.dumps(fields, ensure_ascii=True, default=str)


def _text_or_base64(raw: str | bytes) -> dict[str, str]:
    data = raw.encode("utf-8", "surrogateescape") if isinstance(raw, str) else raw
    try:
        return {"raw": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"raw": base64.b64encode(data).decode("ascii"), "raw_encoding": "base64"}
