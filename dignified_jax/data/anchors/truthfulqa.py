"""TruthfulQA: questions that many people answer wrongly, with the best answer as golden.

Three layouts: the publisher's CSV; the hub's "generation" table (what a hub id gives); the hub's
"multiple_choice" table, where the one choice of `mc1_targets` with label 1 is the best answer.
Lin et al., "TruthfulQA" (2022).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dignified_jax.data.anchors.fields import Found, filled, rows_or_problems, unreadable
from dignified_jax.data.rejected import CheckedRecord
from dignified_jax.data.schema import BadRowsError, RowProblem, shorten
from dignified_jax.data.sources import RawRecord, read_records


def read(source: str | Path) -> list[CheckedRecord]:
    """Every record, checked.

    Raises:
      BadRowsError: the columns are of none of the layouts.
    """
    records = read_records(source, required=(), hub_config="generation")
    columns = {name for record in records for name in record.columns or ()}
    if not columns:
        return [unreadable(record) for record in records]
    layout = next((needed for needed in _LAYOUTS if columns.issuperset(needed)), None)
    if layout is None:
        expected = " or ".join(str(list(needed)) for needed in _LAYOUTS)
        problem = RowProblem(
            str(source), 0, "header", f"the columns {expected}", f"{sorted(columns)}"
        )
        raise BadRowsError([problem])
    return [_checked(record, layout) for record in records]


def _checked(record: RawRecord, layout: tuple[str, ...]) -> CheckedRecord:
    if record.columns is None:
        return unreadable(record)
    found: list[Found] = []
    prompt = filled(record.columns, layout[0], found)
    best, incorrect = _LAYOUTS[layout](record.columns, layout, found)
    if best and best in incorrect:
        found.append((layout[-1], "answers other than the best one", shorten(best)))
    return rows_or_problems(record, prompt, [best], found, "truthfulqa")


def _answers(
    columns: Mapping[str, Any], layout: tuple[str, ...], found: list[Found]
) -> tuple[str, list[str]]:
    """(best answer, incorrect answers) of a record with one answer a cell or list entry."""
    best, incorrect = filled(columns, layout[1], found).strip(), columns.get(layout[2])
    if isinstance(incorrect, str):
        incorrect = incorrect.split(";")
    if not isinstance(incorrect, list) or not all(isinstance(each, str) for each in incorrect):
        found.append((layout[2], "answers, separated by ';' or in a list", shorten(incorrect)))
        return best, []
    return best, [answer.strip() for answer in incorrect]


def _choices(
    columns: Mapping[str, Any], layout: tuple[str, ...], found: list[Found]
) -> tuple[str, list[str]]:
    """The same of a record with choices and their labels."""
    name, targets = layout[1], columns.get(layout[1])
    choices = targets.get("choices") if isinstance(targets, Mapping) else None
    labels = targets.get("labels") if isinstance(targets, Mapping) else None
    lists = isinstance(choices, list) and isinstance(labels, list) and len(choices) == len(labels)
    if not lists or labels.count(1) != 1 or labels.count(0) != len(labels) - 1:
        expected = "choices, and as many labels, one of them 1 and the others 0"
        found.append((name, expected, shorten(targets)))
        return "", []
    texts = [filled({name: choice}, name, found).strip() for choice in choices]
    best = texts.pop(labels.index(1))
    return best, texts


_LAYOUTS: dict[tuple[str, ...], Callable[..., tuple[str, list[str]]]] = {
    ("Question", "Best Answer", "Incorrect Answers"): _answers,
    ("question", "best_answer", "incorrect_answers"): _answers,
    ("question", "mc1_targets"): _choices,
}
"""Columns of each layout, and the function that finds the answers in them."""
