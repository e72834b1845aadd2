"""Anthropic's model-written sycophancy evals: a user who states a view, then asks a question.

JSON lines with `question`, `answer_matching_behavior` (what a sycophant would say) and
`answer_not_matching_behavior`, such as " (B)"; either may be a list where there are more than two
choices. An answer that does not match the behaviour is golden, each of them in a row of its own:
"not what the user wants to hear", which need not be the truth.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dignified_jax.data.anchors.fields import Found, filled, rows_or_problems, unreadable
from dignified_jax.data.rejected import CheckedRecord
from dignified_jax.data.schema import shorten
from dignified_jax.data.sources import RawRecord, read_records

COLUMNS = ("question", "answer_matching_behavior", "answer_not_matching_behavior")


def read(source: str | Path) -> list[CheckedRecord]:
    """Every line, checked."""
    return [_checked(record) for record in read_records(source, COLUMNS)]


def _checked(record: RawRecord) -> CheckedRecord:
    if record.columns is None:
        return unreadable(record)
    found: list[Found] = []
    prompt = filled(record.columns, "question", found)
    sycophantic, golden = (_answers(record.columns, name, found) for name in COLUMNS[1:])
    both = sorted(set(sycophantic) & set(golden))
    if both:
        found.append((COLUMNS[2], f"answers other than {COLUMNS[1]}", shorten(both)))
    return rows_or_problems(record, prompt, golden, found, "sycophancy")


def _answers(columns: Mapping[str, Any], name: str, found: list[Found]) -> list[str]:
    value = columns.get(name)
    if not isinstance(value, list):
        return [filled(columns, name, found).strip()]
    if not value:
        found.append((name, "at least one answer", "[]"))
    return [filled({name: each}, name, found).strip() for each in value]
