"""The table of judgments: one row a model, question, judge and rubric item, with its origin.

`mfrm.from_long` reads the Parquet file as it is. An item that could not be judged has no row; it
stands in a list of its own and never counts as 0.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from dignified_jax.evaluation.responses import Response
from dignified_jax.evaluation.rubrics import Rubric
from dignified_jax.files import atomic

Kind = Literal["model", "endpoint", "rules"]

KEY = ("model", "question", "judge", "rubric")
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in KEY),
        ("score", pa.int8()),
        ("dimension", pa.string()),
        ("log_odds", pa.float64()),
        ("judge_kind", pa.string()),
        ("judge_hash", pa.string()),
        ("response_hash", pa.string()),
        ("rubric_hash", pa.string()),
        ("time", pa.string()),
        ("source", pa.string()),
    ]
)
"""score is 0 or 1; log_odds of "true" is null where a judge gives none; time is ISO 8601, UTC."""


class JudgmentsError(ValueError):
    """A table of judgments is not what it should be."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A judge's answer on one item of one response.

    Attributes:
      score: 0 or 1; None where the judge gave no usable answer.
      log_odds: of 1 against 0, in nats; None where the judge gives none.
      reason: why there is no score.
      time: ISO 8601, UTC.
      source: where it was read, such as a log file.
    """

    score: int | None
    log_odds: float | None = None
    reason: str = ""
    time: str = ""
    source: str = ""


@dataclasses.dataclass(frozen=True)
class Judge:
    """Who judged, and with what settings.

    Attributes:
      name: label.
      kind: "model" (a local model), "endpoint", or "rules" (no model at all).
      hash: of all that its verdicts depend on besides response and rubric.
    """

    name: str
    kind: Kind
    hash: str


@dataclasses.dataclass(frozen=True)
class Missing:
    """An item without a score; `reason` says why."""

    model: str
    question: str
    judge: str
    rubric: str
    reason: str


Verdicts = Mapping[tuple[str, str], Verdict]
"""(hash of the response, name of the item) -> verdict, of one judge and one rubric."""


def tabulate(
    responses: Sequence[Response], rubric: Rubric, verdicts: Mapping[Judge, Verdicts]
) -> tuple[pa.Table, list[Missing]]:
    """Joins responses, items and judges' verdicts: a row each, none twice.

    Args:
      responses: distinct (`responses.check_distinct`).
      rubric: that was judged by.
      verdicts: of each judge; those of other responses are left out.

    Returns:
      The table (`SCHEMA`), and what has no score.
    """
    columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
    missing = []
    for judge, found in verdicts.items():
        for response in responses:
            key = response.hash
            for item in rubric.items:
                verdict = found.get((key, item.name), Verdict(None, reason="not judged"))
                place = (response.model, response.question, judge.name, item.name)
                if verdict.score is None:
                    missing.append(Missing(*place, verdict.reason))
                    continue
                row = (
                    *(*place, verdict.score, item.dimension, verdict.log_odds),
                    *(judge.kind, judge.hash, key, rubric.hash, verdict.time, verdict.source),
                )
                for values, value in zip(columns.values(), row, strict=True):
                    values.append(value)
    table = pa.table(columns, schema=SCHEMA)
    check(table)
    return table, missing


def check(table: pa.Table) -> None:
    """Refuses tables of another schema, scores other than 0 and 1, and rows that stand twice.

    Raises:
      JudgmentsError: says which.
    """
    for field in SCHEMA:
        if field.name not in table.column_names:
            raise JudgmentsError(f"judgments: expected a column {field.name}, found none")
    if not set(table["score"].unique().to_pylist()) <= {0, 1}:
        found = table["score"].unique().to_pylist()
        raise JudgmentsError(f"judgments: expected scores 0 and 1, found {found[:5]}")
    for name in KEY:
        if table[name].null_count:
            raise JudgmentsError(f"judgments: expected a {name} in every row, found none in one")
    codes = np.zeros(table.num_rows, np.int64)
    for name in KEY:
        encoded = table[name].combine_chunks().dictionary_encode()
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy(zero_copy_only=False)
    order = np.sort(codes)
    if (order[1:] == order[:-1]).any():
        code = order[1:][order[1:] == order[:-1]][0]
        row = table.slice(int(np.flatnonzero(codes == code)[0]), 1).to_pylist()[0]
        raise JudgmentsError(
            "judgments: expected one score of each model, question, judge and rubric item, found "
            f"two of {tuple(row[name] for name in KEY)}"
        )


def write(file: str | pathlib.Path, table: pa.Table) -> None:
    """Writes the table as Parquet, whole or not at all.

    Raises:
      JudgmentsError: as `check`.
    """
    check(table)
    with atomic.replacing(file) as partial:
        pyarrow.parquet.write_table(table, partial)


def read(file: str | pathlib.Path) -> pa.Table:
    """Reads the table.

    Raises:
      JudgmentsError: as `check`, or not Parquet; names the file.
    """
    try:
        table = pyarrow.parquet.read_table(file)
    except pa.ArrowInvalid as error:
        reason = str(error).partition("\n")[0]
        raise JudgmentsError(f"{file}: not a Parquet file: {reason}") from error
    try:
        check(table)
    except JudgmentsError as error:
        raise JudgmentsError(f"{file}: {error}") from error
    return table


def count_reasons(missing: Iterable[Missing]) -> dict[str, dict[str, int]]:
    """Returns judge -> reason -> number of items without a score, the commonest first."""
    found: dict[str, dict[str, int]] = {}
    for one in missing:
        reasons = found.setdefault(one.judge, {})
        reasons[one.reason] = reasons.get(one.reason, 0) + 1
    return {
        judge: dict(sorted(reasons.items(), key=lambda pair: -pair[1]))
        for judge, reasons in found.items()
    }
