"""Synthetic examples, and the batches that trainers make of them.

Prompts and responses have lognormal lengths and random token ids; every response ends with the
end token. A pool of them is cut into batches at random, or grouped by length as
`train_sampling_strategy="group_by_length"` of transformers' trainers does it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from dignified_jax.data import RESPONSES, TokenizedExample
from dignified_jax.data.packing import best_fit

PAD, END, UNKNOWN = 0, 1, 2
FIRST_WORD = 3
PROMPT_MEAN, RESPONSE_MEAN, SIGMA = 240, 290, 0.4
ROW_UNIT = 128


def make_examples(
    count: int, vocabulary: int, seed: int, *, rejects: int = 4, scale: float = 1.0
) -> list[TokenizedExample]:
    """Examples of random ids with `rejects` rejected responses each.

    Lengths, the end token counted, are lognormal with the module's means and sigma; `scale`
    multiplies the means.
    """
    rng = np.random.default_rng(seed)

    def lengths(mean: float, size: tuple[int, ...]) -> np.ndarray:
        drawn = rng.lognormal(np.log(mean * scale) - SIGMA**2 / 2, SIGMA, size)
        return np.maximum(np.rint(drawn), 2).astype(int)

    def ids(length: int) -> np.ndarray:
        return rng.integers(FIRST_WORD, vocabulary, length).astype(np.int32)

    prompts = lengths(PROMPT_MEAN, (count,))
    responses = lengths(RESPONSE_MEAN, (count, 1 + rejects))
    absent = (None,) * (len(RESPONSES) - 1 - rejects)
    return [
        TokenizedExample(
            ids(prompt), tuple(np.append(ids(n - 1), np.int32(END)) for n in each) + absent, index
        )
        for index, (prompt, each) in enumerate(zip(prompts, responses, strict=True))
    ]


def explode(examples: Sequence[TokenizedExample]) -> list[TokenizedExample]:
    """One example a pair: the golden response and one of its rejects."""
    return [
        dataclasses.replace(
            example,
            responses=tuple(ids if r in (0, reject) else None for r, ids in enumerate(every)),
        )
        for example in examples
        for every in [example.responses]
        for reject in range(1, len(every))
        if every[reject] is not None
    ]


def longest_sequence(example: TokenizedExample) -> int:
    """Tokens of the prompt with the longest response: what a padded row must hold."""
    return len(example.prompt) + max(example.response_lengths)


def random_batches(count: int, size: int, seed: int) -> list[list[int]]:
    """A random order of `count` positions cut into batches of `size`, the rest left out."""
    return _cut(np.random.default_rng(seed).permutation(count).tolist(), size)


def grouped_batches(lengths: Sequence[int], size: int, seed: int) -> list[list[int]]:
    """Batches of similar lengths, by the function that transformers' sampler calls."""
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    generator = torch.Generator().manual_seed(seed)
    return _cut(get_length_grouped_indices(list(lengths), size, generator=generator), size)


def _cut(order: list[int], size: int) -> list[list[int]]:
    return [order[at : at + size] for at in range(0, len(order) - size + 1, size)]


def typical(batches: Sequence[list[int]], tokens: Callable[[list[int]], int]) -> list[int]:
    """The batch whose `tokens` come closest to the mean over all batches."""
    sizes = np.array([tokens(batch) for batch in batches])
    return batches[int(np.argmin(np.abs(sizes - sizes.mean())))]


def choose_row_length(
    lengths: Sequence[int], batches: Sequence[Sequence[int]], longest: int
) -> int:
    """The row length that computes the fewest tokens when every batch is packed on its own.

    Args:
      lengths: tokens of each packed example.
      batches: positions in `lengths`.
      longest: most tokens of a row.

    Raises:
      ValueError: an example is longer than `longest`.
    """
    first = -(-max(lengths) // ROW_UNIT) * ROW_UNIT
    if first > longest:
        raise ValueError(f"row length: expected at least {first}, found at most {longest}")

    def computed(row_length: int) -> int:
        return row_length * sum(
            len(best_fit([lengths[i] for i in batch], row_length)) for batch in batches
        )

    return min(range(first, longest + 1, ROW_UNIT), key=computed)
