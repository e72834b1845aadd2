"""Forms that people fill in: a CSV line for each question, and a file with the texts beside it."""

from __future__ import annotations

import csv
import io
import pathlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from dignified_jax.construction.audit.sample import Asked, AuditRow
from dignified_jax.data.schema import shorten
from dignified_jax.files import atomic, jsonl

FORM, TEXTS = "form.csv", "texts.jsonl"
COLUMNS = ("row", "part", "criterion", "statement", "annotator", "score")

_ROW = re.compile(r"[0-9a-f]{16}")

Scores = Mapping[Asked, int]
"""Question -> 1 where the criterion holds, 0 where it does not."""


class FormError(ValueError):
    """A form is not what it should be; names file and line."""


def write(
    directory: pathlib.Path, sample: Sequence[AuditRow], criteria: Mapping[str, str]
) -> pathlib.Path:
    """Writes the empty form, and the texts that it asks about; returns the form.

    Args:
      directory: for both.
      sample: rows.
      criteria: name -> statement.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sample:
        for asked in row.asked:
            writer.writerow([*asked, criteria[asked.criterion], "", ""])
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
        with pathlib.Path(file).open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = set(COLUMNS) - {"statement", "annotator"} - set(reader.fieldnames or ())
            if missing:
                raise FormError(f"{file}: expected columns {', '.join(sorted(missing))}")
            for line in reader:
                score = (line["score"] or "").strip()
                asked = Asked(line["row"], line["part"], line["criterion"])
                if score not in ("", "0", "1"):
                    raise FormError(
                        f"{file}:{reader.line_num}: score: expected 0 or 1, found {shorten(score)}"
                    )
                if score and not _ROW.fullmatch(asked.row or ""):
                    raise FormError(
                        f"{file}:{reader.line_num}: row: expected 16 hexadecimal digits as in "
                        f"{FORM}, found {shorten(asked.row)}; spreadsheets have to take the column "
                        "for text"
                    )
                if score and asked in wanted:
                    votes[asked].append(int(score))
    return {asked: int(2 * sum(given) > len(given)) for asked, given in votes.items()}
