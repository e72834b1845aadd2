"""Anchor sets: public supervised data for one dimension each, in their publishers' formats.

sycophancy              A   Anthropic's model-written evals, JSON lines
truthfulqa              T   the publisher's CSV, or the hub's layouts
empathetic_dialogues    E   the publisher's CSV
writing_prompts         C   paired .wp_source and .wp_target files
"""

from pathlib import Path

from dignified_jax.data.anchors import (
    empathetic_dialogues,
    sycophancy,
    truthfulqa,
    writing_prompts,
)
from dignified_jax.data.bad_rows import BadRowPolicy
from dignified_jax.data.schema import PreferenceRow

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
    on_bad_row: str = "error",
    rejected_path: str | Path | None = None,
) -> list[PreferenceRow]:
    """Read and check an anchor set.

    Args:
      kind: one of `READERS`; it is also the `context` of the rows.
      source: the publisher's file (the .wp_source of a pair), or for "sycophancy" and
        "truthfulqa" anything that `read_rows` takes.
      on_bad_row, rejected_path: as for `read_rows`.

    Returns:
      Rows with a prompt, a golden response and no reject, for supervised fine-tuning.

    Raises:
      BadRowsError: names every bad row (all of them), a file without the publisher's columns,
        without rows, or of another length than its pair. With "skip": only the file's problems,
        or if no good row is left.
      FileNotFoundError: no such file or data set.
      ValueError: an unknown kind of anchor set or file, or contradictory arguments.

    Warns:
      UserWarning: with "skip", the number of records set aside.
    """
    if kind not in READERS:
        raise ValueError(f"kind: expected one of {tuple(READERS)}, found {kind!r}")
    policy = BadRowPolicy(on_bad_row, rejected_path)
    return policy.apply(source, READERS[kind](source))


__all__ = ["READERS", "read_anchors"]
