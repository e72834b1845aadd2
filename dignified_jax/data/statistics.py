"""Figures that describe a preference data set before anything is trained on it."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dignified_jax.data.schema import PreferenceRow, dimensions_of
from dignified_jax.data.schema.conversation import SYSTEM, USER, Message, messages_of
from dignified_jax.data.tokenizer import Tokenizer

Measure = Callable[[Sequence[str]], list[int]]
"""Texts to their lengths."""


@dataclass(frozen=True)
class LengthSummary:
    """Lengths of one field over the rows that have it, in the unit of `Statistics`."""

    mean: float
    median: float
    p95: float
    max: int


@dataclass(frozen=True)
class LengthBaseline:
    """The rule "the longer answer is golden", which a model must beat to show anything.

    Attributes:
      accuracy: share of pairs where golden is longer than the reject; a tie counts one half.
      pairs: number of (golden, reject) pairs.
    """

    accuracy: float
    pairs: int


@dataclass(frozen=True)
class Statistics:
    """One data set in figures.

    Attributes:
      samples: number of rows.
      conversations: rows whose prompt has several turns of the user.
      systems: rows whose prompt has a system turn.
      unit: of lengths, such as "words" or "tokens of DIR".
      cardinality: number of active dimensions (1 to K) -> percent of rows.
      rows: dimension -> rows in which it is active.
      lengths: "prompt", "golden", "reject_NAME", ... -> summary; fields that occur only.
      longer_is_golden: dimension -> the length baseline; dimensions that occur only.
    """

    samples: int
    conversations: int
    systems: int
    unit: str
    cardinality: dict[int, float]
    rows: dict[str, int]
    lengths: dict[str, LengthSummary]
    longer_is_golden: dict[str, LengthBaseline]


def count_words(texts: Sequence[str]) -> list[int]:
    """Counts words between white space."""
    return [len(text.split()) for text in texts]


def token_counter(tokenizer: Tokenizer) -> Measure:
    """Returns a measure in tokens of a transformers tokenizer, special tokens not counted."""

    def count(texts: Sequence[str]) -> list[int]:
        encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    return count


def summarise(
    rows: Sequence[PreferenceRow], measure: Measure = count_words, unit: str = "words"
) -> Statistics:
    """Returns the statistics of a list of rows.

    Args:
      rows: at least one row.
      measure: texts to lengths.
      unit: of `measure`.

    Raises:
      ValueError: there are no rows, or they are about different sets of dimensions.
    """
    if not rows:
        raise ValueError("rows: expected at least one, found none")
    dimensions = dimensions_of(rows)
    golden = measure([row.golden for row in rows])
    prompts = [messages_of(row.prompt) for row in rows]
    lengths = {"prompt": _prompt_lengths(prompts, measure), "golden": golden}
    active: dict[str, int] = {}
    baselines: dict[str, LengthBaseline] = {}
    for dimension in dimensions:
        numbers = [n for n, row in enumerate(rows) if dimension in row.rejects]
        active[dimension] = len(numbers)
        if numbers:
            reject = measure([rows[n].rejects[dimension] for n in numbers])
            lengths[f"reject_{dimension}"] = reject
            baselines[dimension] = _baseline([golden[n] for n in numbers], reject)
    masks = Counter(len(row.rejects) for row in rows)
    return Statistics(
        samples=len(rows),
        conversations=sum(sum(m.role == USER for m in turns) > 1 for turns in prompts),
        systems=sum(turns[0].role == SYSTEM for turns in prompts),
        unit=unit,
        cardinality={n: 100 * masks[n] / len(rows) for n in range(1, len(dimensions) + 1)},
        rows=active,
        lengths={name: _summary(of_field) for name, of_field in lengths.items()},
        longer_is_golden=baselines,
    )


def _prompt_lengths(prompts: Sequence[Sequence[Message]], measure: Measure) -> list[int]:
    """The length of each prompt, summed over its turns."""
    lengths = iter(measure([message.content for turns in prompts for message in turns]))
    return [sum(itertools.islice(lengths, len(turns))) for turns in prompts]


def _baseline(golden: Sequence[int], reject: Sequence[int]) -> LengthBaseline:
    difference = np.subtract(golden, reject)
    accuracy = np.mean((difference > 0) + 0.5 * (difference == 0))
    return LengthBaseline(float(accuracy), len(difference))


def _summary(lengths: Sequence[int]) -> LengthSummary:
    return LengthSummary(
        mean=float(np.mean(lengths)),
        median=float(np.median(lengths)),
        p95=float(np.percentile(lengths, 95)),
        max=int(np.max(lengths)),
    )
