"""The static shape that holds every batch of a stream, found by packing its steps once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dignified_jax.data.batch import Capacity
from dignified_jax.data.examples import ABSENT, TokenizedExample, lengths_of
from dignified_jax.data.packing import best_fit

MOST_PLANNED = 4_000_000
"""Examples packed ahead (seconds); an epoch is always packed whole, later ones are bounded."""

_EPOCH_COST = 200  # drawing an epoch's order takes as long as packing about so many examples


@dataclass(frozen=True)
class ExampleSizes:
    """Sizes of the examples, all that packing needs to know of them, by position in their list.

    Attributes:
      tokens: (example,) tokens of prompt and responses.
      slots: (example,) tokens of its responses.
      segments: (example,) its prompt and its responses, counted.
      prompt_block, segment_block: most tokens of a prompt, and of a prompt or response.
      responses: places for responses of an example.
    """

    tokens: np.ndarray
    slots: np.ndarray
    segments: np.ndarray
    prompt_block: int
    segment_block: int
    responses: int

    @classmethod
    def of(cls, examples: Sequence[TokenizedExample]) -> "ExampleSizes":
        """Returns the sizes of at least one example.

        Raises:
          ValueError: the examples have different numbers of responses.
        """
        lengths = lengths_of(examples)
        present = np.maximum(lengths, 0)
        slots = present[:, 1:].sum(axis=1, dtype=np.int64)
        return cls(
            tokens=present[:, 0] + slots,
            slots=slots,
            segments=(lengths != ABSENT).sum(axis=1, dtype=np.int64),
            prompt_block=int(present[:, 0].max()),
            segment_block=max(1, int(present.max())),
            responses=lengths.shape[1] - 1,
        )


@dataclass(frozen=True)
class StreamShape:
    """The shape of a stream's batches, and how full the planned ones are.

    Attributes:
      rows: packed rows a step, a multiple of `rows_multiple`: the most that any step needs.
      capacity: static sizes of packed rows.
      least_used, most_used: rows that hold an example, over the steps packed ahead.
      useful_share: tokens of examples / tokens of the microbatches that hold one, over those.
    """

    rows: int
    capacity: Capacity
    least_used: int
    most_used: int
    useful_share: float


def plan_shape(
    sizes: ExampleSizes,
    orders: Iterable[np.ndarray],
    *,
    batch_size: int,
    row_length: int,
    rows_multiple: int,
    more_follow: bool = False,
    most_visits: np.ndarray | None = None,
    count: Callable[[int], None] = lambda done: None,
) -> StreamShape:
    """Packs the steps of some epochs and returns the least shape that holds all of them.

    Args:
      sizes: of the examples.
      orders: for each epoch the examples' positions, in the order they are visited.
      batch_size, row_length, rows_multiple: as in `BatchStream`.
      more_follow: other orders may follow; the shape then holds any batch of these examples.
      most_visits: (example,) how often an order can hold each; once by default.
      count: told how many examples have been packed.
    """
    used: list[int] = []
    slots = segments = useful = packed = 0
    for order in orders:
        useful += int(sizes.tokens[order].sum())
        for start in range(0, len(order), batch_size):
            step = order[start : start + batch_size]
            plan = best_fit(sizes.tokens[step].tolist(), row_length)
            used.append(len(plan))
            packed += len(step)
            count(packed)
            of_slots, of_segments = sizes.slots[step].tolist(), sizes.segments[step].tolist()
            slots = max(slots, *(sum([of_slots[i] for i in row]) for row in plan))
            segments = max(segments, *(sum([of_segments[i] for i in row]) for row in plan))
    computed = sum(_round_up(rows, rows_multiple) for rows in used)
    rows = max(used)
    if more_follow:
        rows, slots, segments = _bounds(sizes, batch_size, row_length, most_visits)
    return StreamShape(
        rows=_round_up(rows, rows_multiple),
        capacity=Capacity.rounded(
            slots, segments, sizes.prompt_block, sizes.segment_block, sizes.responses
        ),
        least_used=min(used),
        most_used=max(used),
        useful_share=useful / (computed * row_length),
    )


def planned_epochs(epochs: int, examples: int) -> int:
    """Returns how many of the epochs are packed ahead."""
    return min(epochs, max(1, MOST_PLANNED // (examples + _EPOCH_COST)))


def _bounds(
    sizes: ExampleSizes, batch_size: int, row_length: int, visits: np.ndarray | None
) -> tuple[int, int, int]:
    """(rows of a batch, slots of a row, segments of a row): no batch can need more."""
    every = (sizes.tokens, sizes.slots, sizes.segments)
    if visits is not None:
        every = tuple(np.repeat(of, np.minimum(visits, batch_size)) for of in every)
    tokens = np.sort(every[0])
    # Of any two rows that best fit opens, the examples together exceed one row.
    rows = min(batch_size, 2 * int(tokens[-batch_size:].sum()) // row_length + 1)
    together = int(np.searchsorted(np.cumsum(tokens[:batch_size]), row_length, side="right"))
    most = [int(np.sort(of)[-together:].sum()) for of in every[1:]]
    return rows, min(most[0], row_length), most[1]


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
