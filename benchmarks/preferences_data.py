"""Files for a first policy, training, validation and test, out of a large preference set.

Only rows whose prompt and replies fit into a few hundred tokens stay, and no held-out prompt is in
another file. The first policy's rows and those to train on are drawn from all rows alike, so the
dimensions keep their shares; of validation and test rows each dimension has the same number, as
far as there are any.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dignified_jax import data

SPLITS = ("base", "train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of the files.

    Attributes:
      max_length: tokens of the longest prompt and reply.
      train: rows to train on, and for the first policy.
      held_out: validation rows, and test rows, of each dimension at the most.
      fraction: share of the prompts for validation, and for test, of each dimension.
    """

    max_length: int = 384
    train: int = 1024
    held_out: int = 100
    fraction: float = 0.25


def write(
    sources: Sequence[str | pathlib.Path], tokenizer: Any, directory: pathlib.Path, sizes: Sizes
) -> dict[str, dict[str, int]]:
    """Writes base, train, validation and test.jsonl; split -> dimension -> rows.

    A row with several dimensions counts for the first of them.
    """
    rows = [row for source in sources for row in data.read_rows(source)]
    examples, _ = data.encode(
        rows,
        tokenizer,
        max_length=sizes.max_length,
        row_length=sizes.max_length * len(data.RESPONSES),
        on_too_long="drop",
    )
    short = [rows[example.index] for example in examples]
    rng = np.random.default_rng(0)
    parts: dict[str, list[data.PreferenceRow]] = {name: [] for name in SPLITS}
    taken: set[str] = set()
    for dimension in data.DIMENSIONS:
        # A prompt that another dimension holds out already stays in the one file.
        own = [row for row in short if _first(row) == dimension and row.prompt.strip() not in taken]
        rest, test = data.split_validation(own, sizes.fraction, seed=1)
        _, validation = data.split_validation(rest, sizes.fraction / (1 - sizes.fraction), seed=2)
        for name, held_out in (("validation", validation), ("test", test)):
            chosen = rng.permutation(len(held_out))[: sizes.held_out]
            parts[name] += [held_out[i] for i in np.sort(chosen)]
            taken |= {row.prompt.strip() for row in held_out}
    free = [row for row in short if row.prompt.strip() not in taken]
    order = rng.permutation(len(free))
    for name, chosen in (
        ("train", order[: sizes.train]),
        ("base", order[sizes.train :][: sizes.train]),
    ):
        parts[name] = [free[i] for i in np.sort(chosen)]
    directory.mkdir(parents=True, exist_ok=True)
    for name, chosen_rows in parts.items():
        lines = [json.dumps(_record(row), ensure_ascii=False) + "\n" for row in chosen_rows]
        (directory / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return {name: _counts(chosen_rows) for name, chosen_rows in parts.items()}


def _first(row: data.PreferenceRow) -> str:
    return next(dimension for dimension in data.DIMENSIONS if dimension in row.rejects)


def _counts(rows: Sequence[data.PreferenceRow]) -> dict[str, int]:
    firsts = [_first(row) for row in rows]
    return {dimension: firsts.count(dimension) for dimension in data.DIMENSIONS}


def _record(row: data.PreferenceRow) -> dict[str, Any]:
    rejects = {f"reject_{k}": row.rejects.get(k, "") for k in data.DIMENSIONS}
    mask = [k for k in data.DIMENSIONS if k in row.rejects]
    return {"mask": mask, "prompt": row.prompt, "golden": row.golden, **rejects}
