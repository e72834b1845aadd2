"""Rows of the comparison: splits by prompt, and a conflict of dimensions on the same prompts.

The conflict gives rows of one dimension a partner in another: the same prompt, the two replies
swapped. By default rows of A, which prefer the reply that does not go along with the user, have
one in E, where the one that goes along counts as the warmer. Single words have no warmth, so only
rows whose replies both are sentences get a partner. With a share of 1 every one of them does, and
no policy can please both on them. With partners in two dimensions they are two against one.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dignified_jax import data
from dignified_jax.data.tokenizer import Tokenizer
from dignified_jax.files import atomic

SPLITS = ("train", "validation", "test")
OPPOSING_CONTEXT = "opposing"


@dataclasses.dataclass(frozen=True)
class Conflict:
    """Which rows are opposed by which.

    Attributes:
      opposed: dimension of the rows that get partners.
      opposing: dimensions of the partners, of which a row gets one in each.
      share: of the rows that can have partners, those that get them.
    """

    opposed: str = "A"
    opposing: tuple[str, ...] = ("E",)
    share: float = 1.0

    def __post_init__(self) -> None:
        every = (self.opposed, *self.opposing)
        strange = [name for name in every if name not in data.DIMENSIONS]
        if strange or len(every) < 2 or len(set(every)) != len(every):
            raise ValueError(
                f"--oppose: expected a dimension and others that oppose it, of "
                f"{', '.join(data.DIMENSIONS)}, as in A:E or T:EC; found {_shown(self)}"
            )
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"--conflict: expected 0 to 1, found {self.share:g}")

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Those that can't all be had, in the order of all dimensions."""
        return tuple(k for k in data.DIMENSIONS if k in (self.opposed, *self.opposing))


def _shown(conflict: Conflict) -> str:
    return f"{conflict.opposed}:{''.join(conflict.opposing)}"


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of the splits.

    Attributes:
      max_length: tokens of the longest prompt and reply; longer rows are left out.
      train: rows to train on, before the conflict's.
      validation, test: rows of each dimension at the most.
      validation_share, test_share: of the prompts of each dimension, that are held out for them.
      sentence: words from which on a reply is a sentence.
      dimensions: whose rows take part.
    """

    max_length: int = 384
    train: int = 1024
    validation: int = 40
    test: int = 150
    validation_share: float = 0.25
    test_share: float = 0.25
    sentence: int = 12
    dimensions: tuple[str, ...] = data.DIMENSIONS

    @property
    def row_length(self) -> int:
        """Tokens of a packed row: enough for a prompt with two replies, and some rows together."""
        return self.max_length * 8 // 3


def split(
    train: Sequence[str], test: Sequence[str], tokenizer: Tokenizer, sizes: Sizes
) -> dict[str, list[data.PreferenceRow]]:
    """Returns the rows of each split; no prompt is in two of them.

    Held-out prompts are those of the test files, and a share of those of the training files: real
    sets have many rows on a few prompts, and their own test files may have next to none.

    Args:
      train, test: files of preference rows; of the latter there may be none.
      tokenizer: that of the model.
      sizes: of the splits.
    """
    given, tested = (
        _within([row for source in sources for row in data.read_rows(source)], sizes.dimensions)
        for sources in (train, test)
    )
    own = {_key(row) for row in tested}
    short = _short([*tested, *given], tokenizer, sizes)
    free = [row for row in short if _key(row) not in own]
    held: dict[str, list[data.PreferenceRow]] = {"validation": [], "test": []}
    taken = set(own)
    rng = np.random.default_rng(0)
    for dimension in sizes.dimensions:
        pool = [row for row in free if first(row) == dimension and _key(row) not in taken]
        validation, more = _held_out(pool, sizes)
        published = [row for row in short if _key(row) in own and first(row) == dimension]
        for name, candidates in (("validation", validation), ("test", [*published, *more])):
            chosen = rng.permutation(len(candidates))[: getattr(sizes, name)]
            held[name] += [candidates[i] for i in np.sort(chosen)]
            taken |= {_key(row) for row in candidates}
    left = [row for row in free if _key(row) not in taken]
    chosen = np.sort(rng.permutation(len(left))[: sizes.train])
    return {"train": [left[i] for i in chosen], **held}


def with_conflict(
    rows: Sequence[data.PreferenceRow], conflict: Conflict, sizes: Sizes
) -> list[data.PreferenceRow]:
    """Returns the rows, and after them the partners of a share of those that can have one."""
    able = [row for row in rows if _opposable(row, conflict.opposed, sizes.sentence)]
    order = np.random.default_rng(3).permutation(len(able))
    chosen = np.sort(order[: round(conflict.share * len(able))])
    partners = [
        _opposing(able[i], conflict.opposed, name) for name in conflict.opposing for i in chosen
    ]
    return [*rows, *partners]


def write(directory: pathlib.Path, splits: dict[str, list[data.PreferenceRow]]) -> dict[str, Any]:
    """Writes train, validation and test.jsonl; split -> dimension -> rows, and the opposing."""
    directory.mkdir(parents=True, exist_ok=True)
    counts: dict[str, Any] = {}
    for name, rows in splits.items():
        lines = [json.dumps(_record(row), ensure_ascii=False) + "\n" for row in rows]
        atomic.write_text(directory / f"{name}.jsonl", "".join(lines))
        firsts = [first(row) for row in rows]
        counts[name] = {dimension: firsts.count(dimension) for dimension in data.DIMENSIONS}
        counts[name]["opposing"] = sum(row.context == OPPOSING_CONTEXT for row in rows)
        counts[name]["prompts"] = len({_key(row) for row in rows})
    return counts


def first(row: data.PreferenceRow) -> str:
    """Returns the first active dimension, by which rows are counted."""
    return next(dimension for dimension in data.DIMENSIONS if dimension in row.rejects)


def _within(
    rows: Sequence[data.PreferenceRow], dimensions: Sequence[str]
) -> list[data.PreferenceRow]:
    """The rows with the rejects of these dimensions alone; rows that have none are left out."""
    own = [{k: text for k, text in row.rejects.items() if k in dimensions} for row in rows]
    pairs = zip(rows, own, strict=True)
    return [dataclasses.replace(row, rejects=rejects) for row, rejects in pairs if rejects]


def _short(
    rows: Sequence[data.PreferenceRow], tokenizer: Tokenizer, sizes: Sizes
) -> list[data.PreferenceRow]:
    examples, _ = data.encode(
        rows,
        tokenizer,
        max_length=sizes.max_length,
        row_length=sizes.row_length,
        on_too_long="drop",
    )
    return [rows[example.index] for example in examples]


def _held_out(
    rows: Sequence[data.PreferenceRow], sizes: Sizes
) -> tuple[list[data.PreferenceRow], list[data.PreferenceRow]]:
    """(validation, test) of their shares of the prompts; none of fewer than three prompts."""
    if len({_key(row) for row in rows}) < 3:
        return [], []
    rest, test = data.split_validation(rows, sizes.test_share, seed=1)
    left = sizes.validation_share / (1 - sizes.test_share)
    return data.split_validation(rest, left, seed=2)[1], test


def _key(row: data.PreferenceRow) -> str:
    prompt = row.prompt
    return prompt.strip() if isinstance(prompt, str) else json.dumps(_turns(prompt))


def _turns(prompt: data.schema.Prompt) -> Any:
    return prompt if isinstance(prompt, str) else [dataclasses.asdict(turn) for turn in prompt]


def _opposable(row: data.PreferenceRow, opposed: str, sentence: int) -> bool:
    replies = (row.golden, row.rejects.get(opposed, ""))
    return all(len(reply.split()) >= sentence for reply in replies)


def _opposing(row: data.PreferenceRow, opposed: str, opposing: str) -> data.PreferenceRow:
    return data.PreferenceRow(
        prompt=row.prompt,
        golden=row.rejects[opposed],
        rejects={opposing: row.golden},
        context=OPPOSING_CONTEXT,
        trigger=row.context,
    )


def _record(row: data.PreferenceRow) -> dict[str, Any]:
    return {
        **{"mask": list(row.mask), "context": row.context, "trigger": row.trigger},
        **{"prompt": _turns(row.prompt), "golden": row.golden},
        **{f"reject_{k}": row.rejects.get(k, "") for k in data.DIMENSIONS},
    }
