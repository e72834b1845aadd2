"""Prompts that begin alike as one token tree: what they share is computed once.

The trunk is the longest common beginning of the prompts' token ids, so a branch has the very ids
that its prompt has by itself, wherever the tokenizer puts its borders.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.data.batch import Capacity, PackedBatch
from dignified_jax.data.packing import best_fit, build
from dignified_jax.data.tokenize import TokenizedExample
from dignified_jax.models.decoder import Decoder, Params
from dignified_jax.models.logprobs import last_states
from dignified_jax.models.lora import LoraParams

LENGTH_UNIT = 128  # row lengths are multiples: few shapes to compile
TOKENS_PER_STEP = 4096


@dataclasses.dataclass(frozen=True)
class TreeBatch:
    """Packed trees of one step.

    Attributes:
      packed: the rows.
      trees: for each row the trees in it, by position in the list that was packed, in order.
    """

    packed: PackedBatch
    trees: tuple[tuple[int, ...], ...]


def grow(prompts: Sequence[np.ndarray], index: int = 0) -> TokenizedExample:
    """Makes a tree of prompts: the trunk, and a branch of at least one token each.

    Args:
      prompts: token ids, (tokens,) int32 each, of at least two tokens.
      index: of the tree.
    """
    shortest = min(map(len, prompts))
    trunk = shortest - 1
    for prompt in prompts[1:]:
        differs = np.flatnonzero(prompt[:trunk] != prompts[0][:trunk])
        trunk = int(differs[0]) if differs.size else trunk
    if trunk < 1:
        raise ValueError(f"prompts[{index}]: expected prompts that begin alike")
    branches = tuple(prompt[trunk:] for prompt in prompts)
    # An example has room for two replies at least.
    branches = branches if len(branches) > 1 else (*branches, None)
    return TokenizedExample(prompts[0][:trunk], branches, index)


def pack(trees: Sequence[TokenizedExample]) -> Iterator[TreeBatch]:
    """Packs whole trees into rows of one length, and rows into steps of one shape."""
    longest = max(tree.length for tree in trees)
    row_length = -(-longest // LENGTH_UNIT) * LENGTH_UNIT
    rows = max(1, TOKENS_PER_STEP // row_length)
    plan = best_fit([tree.length for tree in trees], row_length)
    rows = min(rows, len(plan))
    capacity = Capacity.of(trees, [plan])
    for start in range(0, len(plan), rows):
        chosen = plan[start : start + rows]
        places = [place for row in chosen for place in row]
        position = {place: at for at, place in enumerate(places)}
        packed = build(
            [trees[place] for place in places],
            [[position[place] for place in row] for row in chosen],
            row_length=row_length,
            capacity=capacity,
            rows=rows,
            example_count=len(places),
        )
        # Only the arrays that the model reads: their shapes do not depend on the trees.
        empty = np.zeros((1, capacity.responses))
        packed = dataclasses.replace(
            packed, response_mask=empty.astype(bool), response_length=empty.astype(np.int32)
        )
        yield TreeBatch(packed, tuple(map(tuple, chosen)))


class BranchScorer:
    """Log-odds of one token against another after every branch of packed trees."""

    def __init__(
        self, model: Decoder, params: Params | LoraParams, answers: tuple[int, int]
    ) -> None:
        """
        Args:
          model: the decoder.
          params: its parameter tree, or that of a base and of LoRA.
          answers: token ids.
        """
        self._params, answer_ids = params, jnp.asarray(answers)

        @jax.jit
        def score(params: Params | LoraParams, batch: PackedBatch) -> jax.Array:
            hidden, kernel = last_states(model, params, batch)
            last = jnp.maximum(batch.segments[..., 2] + batch.segments[..., 3] - 1, 0)
            states = jnp.take_along_axis(hidden, last[..., None], axis=1)
            answering = kernel[:, answer_ids]
            logits = jnp.einsum(
                "rsh,ha->rsa", states, answering, preferred_element_type=jnp.float32
            )
            return logits[..., 0] - logits[..., 1]

        self._score = score

    def __call__(self, batch: TreeBatch, branches: int) -> dict[int, np.ndarray]:
        """Scores a step.

        Args:
          batch: from `pack`.
          branches: of every tree.

        Returns:
          Position of each tree -> (branches,) log-odds in nats.
        """
        found = np.asarray(self._score(self._params, batch.packed), np.float64)
        values = {}
        for row, trees in enumerate(batch.trees):
            at = 0
            for tree in trees:
                values[tree] = found[row, at + 1 : at + 1 + branches]
                at += 1 + branches
        return values
