"""Figures that describe a preference data set before anything is trained on it."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dignified_jax.console.waiting import ShowCount, uncounted
from dignified_jax.data.schema import PreferenceRow, dimensions_of
from dignified_jax.data.schema.conversation import SYSTEM, USER, Message, messages_of
from dignified_jax.data.tokenizer import Tokenizer

_TOGETHER = 1024  # rows that are measured in one call
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
    rows: Sequence[PreferenceRow],
    measure: Measure = count_words,
    unit: str = "words",
    progress: ShowCount = uncounted,
) -> Statistics:
    """Returns the statistics of rows.

    Args:
      rows: at least one row.
      measure: texts to lengths.
      unit: of `measure`.
      progress: told how many rows have been measured.

    Raises:
      ValueError: there are no rows, or they are about different sets of dimensions.
    """
    if not len(rows):
        raise ValueError("rows: expected at least one, found none")
    dimensions = dimensions_of(rows)
    lengths: dict[str, list[int]] = {"prompt": [], "golden": []}
    rejects: dict[str, list[int]] = {name: [] for name in dimensions}
    beside: dict[str, list[int]] = {name: [] for name in dimensions}  # golden of each reject
    masks: Counter[int] = Counter()
    conversations = systems = 0
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        prompts = [messages_of(row.prompt) for row in some]
        conversations += sum(sum(m.role == USER for m in turns) > 1 for turns in prompts)
        systems += sum(turns[0].role == SYSTEM for turns in prompts)
        masks.update(len(row.rejects) for row in some)
        golden = measure([row.golden for row in some])
        lengths["prompt"] += _prompt_lengths(prompts, measure)
        lengths["golden"] += golden
        for name in dimensions:
            numbers = [n for n, row in enumerate(some) if name in row.rejects]
            rejects[name] += measure([some[n].rejects[name] for n in numbers]) if numbers else []
            beside[name] += [golden[n] for n in numbers]
        progress(start + len(some), len(rows))
    active = [name for name in dimensions if rejects[name]]
    lengths |= {f"reject_{name}": rejects[name] for name in active}
    return Statistics(
        samples=len(rows),
        conversations=conversations,
        systems=systems,
        unit=unit,
        cardinality={n: 100 * masks[n] / len(rows) for n in range(1, len(dimensions) + 1)},
        rows={name: len(of_name) for name, of_name in rejects.items()},
        lengths={name: _summary(of_field) for name, of_field in lengths.items()},
        longer_is_golden={name: _baseline(beside[name], rejects[name]) for name in active},
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
