"""Anchor sets: public supervised data for one dimension each, in their publishers' formats.

The letters are the dimensions of the default set that they speak to.

sycophancy              A   Anthropic's model-written evals, JSON lines
truthfulqa              T   the publisher's CSV, or the hub's layouts
empathetic_dialogues    E   the publisher's CSV
writing_prompts         C   paired .wp_source and .wp_target files
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from dignified_jax.data.anchors import (
    empathetic_dialogues,
    sycophancy,
    truthfulqa,
    writing_prompts,
)
from dignified_jax.data.rejected import BadRowPolicy
from dignified_jax.data.schema import DIMENSIONS, PreferenceRow, check_dimensions

READERS = {
    "sycophancy": sycophancy.read,
    "truthfulqa": truthfulqa.read,
    "empathetic_dialogues": empathetic_dialogues.read,
    "writing_prompts": writing_prompts.read,
}


def read_anchors(
    kind: str,
    source: str | Path,
    *,
    dimensions: Sequence[str] = DIMENSIONS,
    on_bad_row: str = "error",
    rejected_path: str | Path | None = None,
) -> list[PreferenceRow]:
    """Reads and checks an anchor set.

    Args:
      kind: one of `READERS`; it is also the `context` of the rows.
      source: the publisher's file (the .wp_source of a pair), or for "sycophancy" and
        "truthfulqa" anything that `read_rows` takes.
      dimensions: of the preference rows that the anchors are mixed with.
      on_bad_row, rejected_path: as for `read_rows`.

    Returns:
      Rows with a prompt, a golden response and no reject, for supervised fine-tuning.

    Raises:
      BadRowsError: names every bad row (all of them), a file without the publisher's columns,
        without rows, or of another length than its pair. With "skip": only the file's problems,
        or if no good row is left.
      FileNotFoundError: no such file or data set.
      ValueError: an unknown kind of anchor set or file, names that are none, or contradictory
        arguments.

    Warns:
      UserWarning: with "skip", the number of records set aside.
    """
    if kind not in READERS:
        raise ValueError(f"kind: expected one of {tuple(READERS)}, found {kind!r}")
    names = check_dimensions(dimensions)
    policy = BadRowPolicy(on_bad_row, rejected_path)
    rows = policy.apply(source, READERS[kind](source))
    return [dataclasses.replace(row, dimensions=names) for row in rows]


__all__ = ["READERS", "read_anchors"]
