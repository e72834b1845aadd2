"""A synthetic preference problem whose conflict, imbalance and noise are dials.

Replies are words drawn independently from a tilted uniform distribution,

    p(word) proportional to exp(sqrt(V) t[word])        t = strength sum_k sigma_k u_k

The golden has sigma_k = +1 for every dimension k that its row has; the reject of k is single-fault:
its sigma_k alone is -1. Flipped labels swap the two. The u_k say what each dimension likes:

    u_k = +- sqrt(conflict) c + sqrt(1 - conflict) p_k        |u_k| = 1, entries sum to 0

c and the p_k are orthonormal: Peer (E, C) and Dignity (A, T) pull at opposite ends of one shared
axis c, and every dimension has a direction p_k of its own. So <u_j, u_k> is -conflict between the
groups and +conflict within them, and all four can be pleased at once, along the p_k, at any
conflict below 1. Prompts are random and say nothing of the dimension.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dignified_jax.data import DIMENSIONS, RESPONSES, PackedBatch, TokenizedExample
from dignified_jax.data.batch import Capacity
from dignified_jax.data.packing import build

REPLY, END, FIRST_WORD = 1, 2, 3
VOCABULARY = 64
WORDS = VOCABULARY - FIRST_WORD
PROMPT_WORDS = 5
REPLY_WORDS = 8

_ROW_LENGTH = PROMPT_WORDS + 1 + len(RESPONSES) * (REPLY_WORDS + 1)
# One example a row, so that batches of every seed have one static shape.
_CAPACITY = Capacity(
    slots=len(RESPONSES) * (REPLY_WORDS + 1),
    segments=1 + len(RESPONSES),
    prompt_block=8,
    segment_block=16,
)
# Which end of the shared axis each of A, T, E, C pulls at.
_SIGNS = np.array([-1.0, -1.0, 1.0, 1.0])


@dataclasses.dataclass(frozen=True)
class Dials:
    """What makes the problem hard.

    Attributes:
      conflict: minus the cosine of u_j and u_k of different groups, in [0, 1).
      frequency: probability that a row has a reject of A, T, E, C; a row without any is drawn
        again, so the shares of rows are a little larger.
      noise: probability that a dimension's label is flipped: its reject is the better one. Each
        dimension and row on its own; at most 1/2.
      strength: standard deviation, over words, of one dimension's log tilt.
    """

    conflict: float = 0.4
    frequency: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    noise: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    strength: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.conflict < 1:
            raise ValueError(f"conflict: expected a number in [0, 1), found {self.conflict}")
        for name, most in (("frequency", 1.0), ("noise", 0.5)):
            values = getattr(self, name)
            if len(values) != len(DIMENSIONS) or not all(0 <= v <= most for v in values):
                raise ValueError(
                    f"{name}: expected {len(DIMENSIONS)} numbers in [0, {most}], found {values}"
                )
        if not any(self.frequency):
            raise ValueError("frequency: expected one above 0, found none")
        if not self.strength > 0:
            raise ValueError(f"strength: expected a positive number, found {self.strength}")


def directions(conflict: float, seed: int) -> np.ndarray:
    """(4, WORDS) float64 u_k: unit rows that sum to 0."""
    rng = np.random.default_rng([seed, 0])
    columns = np.column_stack([np.ones(WORDS), rng.normal(size=(WORDS, 1 + len(DIMENSIONS)))])
    basis = np.linalg.qr(columns)[0].T[1:]  # the first column took the mean away from the others
    return np.sqrt(conflict) * _SIGNS[:, None] * basis[0] + np.sqrt(1.0 - conflict) * basis[1:]


def make_examples(
    dials: Dials, count: int, seed: int, part: int, *, clean: bool = False
) -> list[TokenizedExample]:
    """Tokenised rows of one part (0, 1, ... say train, validation, test) of the problem `seed`.

    Parts share the directions u_k and nothing else. `clean` leaves the noise out.
    """
    rng = np.random.default_rng([seed, 1 + part])
    dimensions = len(DIMENSIONS)
    log_tilts = dials.strength * np.sqrt(WORDS) * directions(dials.conflict, seed)
    noise = np.zeros(dimensions) if clean else np.asarray(dials.noise)

    def reply(signs: np.ndarray) -> np.ndarray:
        tilt = np.exp(signs @ log_tilts)
        words = rng.choice(WORDS, size=REPLY_WORDS, p=tilt / tilt.sum())
        return np.append(FIRST_WORD + words, END).astype(np.int32)

    examples = []
    for index in range(count):
        active = np.zeros(dimensions, bool)
        while not active.any():
            active = rng.random(dimensions) < dials.frequency
        signs = active * np.where(rng.random(dimensions) < noise, -1.0, 1.0)
        rejects = [
            reply(np.where(np.arange(dimensions) == k, -signs, signs)) if active[k] else None
            for k in range(dimensions)
        ]
        prompt = np.append(FIRST_WORD + rng.integers(WORDS, size=PROMPT_WORDS), REPLY)
        examples.append(TokenizedExample(prompt.astype(np.int32), (reply(signs), *rejects), index))
    return examples


def pack(examples: list[TokenizedExample]) -> PackedBatch:
    """All examples as one batch, one in a row."""
    count = len(examples)
    return build(
        examples,
        [[number] for number in range(count)],
        row_length=_ROW_LENGTH,
        capacity=_CAPACITY,
        rows=count,
        example_count=count,
    )
