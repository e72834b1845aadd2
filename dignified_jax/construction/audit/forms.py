"""Forms that people fill in: a CSV line for each question, and a file with the texts beside it."""

from __future__ import annotations

import csv
import io
import pathlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dignified_jax.construction.audit.sample import Asked, AuditRow
from dignified_jax.data.schema import shorten
from dignified_jax.files import atomic, jsonl

FORM, TEXTS = "form.csv", "texts.jsonl"
COLUMNS = ("row", "part", "criterion", "statement", "annotator", "score")
_FILLED_IN = ("annotator", "score")

_ROW = re.compile(r"[0-9a-f]{16}")

Scores = Mapping[Asked, int]
"""Question -> 1 where the criterion holds, 0 where it does not."""


class FormError(ValueError):
    """A form is not what it should be; names file and line."""


def write(
    directory: pathlib.Path, sample: Sequence[AuditRow], criteria: Mapping[str, str]
) -> pathlib.Path:
    """Writes the empty form, and the texts that it asks about; returns the form.

    A form that somebody has begun to fill in stays as it is.

    Args:
      directory: for both.
      sample: rows.
      criteria: name -> statement.

    Raises:
      FormError: the form that lies there has answers, but not about all of these rows.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sample:
        for asked in row.asked:
            writer.writerow([*asked, criteria[asked.criterion], "", ""])
    if not _is_begun(directory / FORM, {asked for row in sample for asked in row.asked}):
        atomic.write_text(directory / FORM, stream.getvalue())
    texts = [
        {"row": row.id, "mask": list(row.row.mask)} | {part: row.texts(part) for part in row.parts}
        for row in sample
    ]
    jsonl.write(directory / TEXTS, texts)
    return directory / FORM


def read(files: Iterable[str], known: Iterable[Asked]) -> dict[Asked, int]:
    """Reads filled-in forms; where several people answered, the majority counts, a tie as 0.

    Empty scores are skipped, and so are rows that the sample does not have.

    Raises:
      FormError: a file is no form, a score is other than 0 and 1, or what was answered has no id of
        a row, as where a spreadsheet took it for a number.
      OSError: a file can't be read.
    """
    wanted, votes = set(known), defaultdict(list)
    for file in files:
        for place, asked, line in _lines(file):
            score = (line["score"] or "").strip()
            if score not in ("", "0", "1"):
                raise FormError(f"{place}: score: expected 0 or 1, found {shorten(score)}")
            if score and not _ROW.fullmatch(asked.row or ""):
                raise FormError(
                    f"{place}: row: expected 16 hexadecimal digits as in {FORM}, found "
                    f"{shorten(asked.row)}; spreadsheets have to take the column for text"
                )
            if score and asked in wanted:
                votes[asked].append(int(score))
    return {asked: int(2 * sum(given) > len(given)) for asked, given in votes.items()}


def _is_begun(file: pathlib.Path, wanted: set[Asked]) -> bool:
    """Returns whether a form has answers, which nothing may write over."""
    if not file.exists():
        return False
    try:
        lines = [(asked, line) for _, asked, line in _lines(file)]
    except FormError as error:
        raise FormError(f"{error}; move it away, and a new form is written") from error
    if not any((line[n] or "").strip() for _, line in lines for n in _FILLED_IN if n in line):
        return False
    if wanted <= {asked for asked, _ in lines}:
        return True
    raise FormError(
        f"{file}: has answers, but not about all rows of this sample; move it away, name it in "
        "audit.people, and a new form is written"
    )


def _lines(file: str | pathlib.Path) -> Iterator[tuple[str, Asked, Mapping[str, str | None]]]:
    """(file:line, question, columns) of each line of a form."""
    try:
        with pathlib.Path(file).open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = set(COLUMNS) - {"statement", "annotator"} - set(reader.fieldnames or ())
            if missing:
                raise FormError(f"{file}: expected columns {', '.join(sorted(missing))}")
            for line in reader:
                asked = Asked(line["row"], line["part"], line["criterion"])
                yield f"{file}:{reader.line_num}", asked, line
    except UnicodeDecodeError as error:
        raise FormError(f"{file}: expected UTF-8 text, found other bytes") from error
    except csv.Error as error:
        raise FormError(f"{file}: after line {reader.line_num}: {error}") from error
