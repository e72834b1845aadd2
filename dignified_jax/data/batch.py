"""The arrays of a packed batch, and the static sizes that all batches of a stream share."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from functools import partial

import jax
import numpy as np
from jaxtyping import ArrayLike, Bool, Int32

from dignified_jax.data.examples import ABSENT, TokenizedExample, lengths_of
from dignified_jax.data.schema import RESPONSES

_BLOCK_UNIT = 8


@dataclass(frozen=True)
class Capacity:
    """Static sizes of packed rows, the same for all batches of a stream.

    Attributes:
      slots: response tokens a row can hold.
      segments: prompts and responses a row can hold.
      prompt_block: most tokens of a prompt.
      segment_block: most tokens of a prompt or response.
      responses: places for responses of an example, 1 + K for K dimensions.
    """

    slots: int
    segments: int
    prompt_block: int
    segment_block: int
    responses: int = len(RESPONSES)

    @classmethod
    def of(
        cls,
        examples: Sequence[TokenizedExample],
        plans: Iterable[Sequence[Sequence[int]]],
    ) -> "Capacity":
        """The least capacity that holds every row of every plan over `examples`.

        The blocks are rounded up to a multiple of 8.

        Raises:
          ValueError: the examples have different numbers of responses.
        """
        lengths = lengths_of(examples)
        slots = np.maximum(lengths[:, 1:], 0).sum(axis=1).tolist()
        segments = (lengths != ABSENT).sum(axis=1).tolist()
        rows = [row for plan in plans for row in plan]
        return cls.rounded(
            slots=max(sum(slots[i] for i in row) for row in rows),
            segments=max(sum(segments[i] for i in row) for row in rows),
            prompt_block=int(lengths[:, 0].max()),
            segment_block=max(1, int(lengths.max())),
            responses=lengths.shape[1] - 1,
        )

    @classmethod
    def rounded(
        cls, slots: int, segments: int, prompt_block: int, segment_block: int, responses: int
    ) -> "Capacity":
        """Returns the least capacity of at least these sizes; tokens are multiples of 8."""
        rounded = [_round_up(size) for size in (slots, prompt_block, segment_block)]
        return cls(rounded[0], segments, *rounded[1:], responses)

    def union(self, other: "Capacity") -> "Capacity":
        """The least capacity that holds whatever either holds."""
        both = zip(astuple(self), astuple(other), strict=True)
        return Capacity(*(max(pair) for pair in both))


def _round_up(number: int) -> int:
    return -(-number // _BLOCK_UNIT) * _BLOCK_UNIT


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        *("tokens", "positions", "visible_until", "segments", "source", "target", "response"),
        *("response_mask", "response_length"),
    ],
    meta_fields=["prompt_block", "segment_block"],
)
@dataclass(frozen=True)
class PackedBatch:
    """Packed examples, as numpy arrays when built.

    On devices the rows are grouped by accumulation step, an axis in front of that of rows.

    Attributes:
      tokens: (row, row_length) int32 token ids; 0 where nothing is packed.
      positions: (row, row_length) int32; 0, 1, ... over a prompt of P tokens, then P, P+1, ...
        afresh in each of its responses; 0 where nothing is packed.
      visible_until: (row, row_length) int32; query i sees key j iff j <= i < visible_until[j]:
        the example's end for prompt tokens, the response's end for its tokens, and j + 1
        where nothing is packed.
      segments: (row, segment, 4) int32; every prompt and response of the row in order: where its
        prompt starts, its prompt's length (0 for a prompt itself), where it starts, its length.
        Unused ones are (0, 0, row_length, 0).
      source: (row, slot) int32; one slot a response token: where in the row stands the hidden
        state that predicts it (the last prompt token for the first of every response, else
        the token before); 0 in unused slots.
      target: (row, slot) int32; the token id to predict; 0 in unused slots.
      response: (row, slot) int32; (1 + K) * example + response number, for K dimensions;
        (1 + K) * example count, one past the end, in unused slots.
      response_mask: (example, 1 + K) bool; which responses exist: golden, then the reject of each
        dimension in the order of the rows' `dimensions`.
      response_length: (example, 1 + K) int32; their tokens.
      prompt_block, segment_block: static; at least the longest prompt, and the longest segment.

    The mask and the lengths cover every example of the batch, also where a process holds but
    some of its rows.
    """

    tokens: Int32[ArrayLike, "*step row length"]
    positions: Int32[ArrayLike, "*step row length"]
    visible_until: Int32[ArrayLike, "*step row length"]
    segments: Int32[ArrayLike, "*step row segment 4"]
    source: Int32[ArrayLike, "*step row slot"]
    target: Int32[ArrayLike, "*step row slot"]
    response: Int32[ArrayLike, "*step row slot"]
    response_mask: Bool[ArrayLike, "example response"]
    response_length: Int32[ArrayLike, "example response"]
    prompt_block: int
    segment_block: int
