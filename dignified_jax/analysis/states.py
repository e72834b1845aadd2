"""Residual-stream states of texts, read from packed rows as a stream."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from dignified_jax.data.packing import best_fit
from dignified_jax.models.attention.token_tree import TokenTree
from dignified_jax.models.decoder import Decoder, Params
from dignified_jax.models.lora import LoraParams, variables
from dignified_jax.models.residual import Capture, Edits

# Tokens of a row, unless a text is longer, and the most texts in it.
ROW = {"cpu": 512}
ROW_OF_ACCELERATORS = 4096
MOST_TEXTS = 32


class Reading(NamedTuple):
    """A text, and the parts of it whose states are wanted.

    Attributes:
      tokens: ids of the whole text.
      spans: (start, end) of each part, whose tokens' states are averaged.
    """

    tokens: Sequence[int]
    spans: tuple[tuple[int, int], ...]


def last_token(tokens: Sequence[int]) -> tuple[int, int]:
    """Returns the span of a text's last token."""
    return len(tokens) - 1, len(tokens)


def read_states(
    model: Decoder,
    params: Params | LoraParams,
    readings: Sequence[Reading],
    edits: Edits | None = None,
    longest: int = 0,
) -> Iterator[tuple[int, Float32[np.ndarray, "span layer width"]]]:
    """Yields the place of each reading among `readings` and its states, in another order.

    Memory does not grow with their number.

    Args:
      model: the decoder.
      params: its parameter tree, or that of a base and of LoRA.
      readings: texts; each has as many spans as the first.
      edits: of the stream; states are those after the edit.
      longest: tokens that a text has at most, where others follow that are to run in the same
        compiled program.

    Raises:
      ValueError: a text is longer than the model's positions, or a span is not in it.
    """
    _check(readings, model.config.max_position_embeddings)
    if not readings:
        return
    usual = ROW.get(jax.default_backend(), ROW_OF_ACCELERATORS)
    longest = max(longest, *(len(each.tokens) for each in readings))
    length = -(-longest // 128) * 128 if longest > usual else usual
    read = _reader(model)
    plan = best_fit([len(each.tokens) for each in readings], length)
    for row in plan:
        for start in range(0, len(row), MOST_TEXTS):
            chosen = row[start : start + MOST_TEXTS]
            packed = _pack([readings[place] for place in chosen], length, -(-longest // 8) * 8)
            states = np.asarray(read(params, *packed, edits), np.float32)[:, 0]
            spans = len(readings[0].spans)
            for at, place in enumerate(chosen):
                yield place, states[:, at * spans : (at + 1) * spans].swapaxes(0, 1)


def collect(
    model: Decoder,
    params: Params | LoraParams,
    readings: Sequence[Reading],
    progress: Callable[[int, int], None] | None = None,
) -> Float32[np.ndarray, "text span layer width"]:
    """Returns the states of all readings, in their order; arguments as `read_states`.

    Args:
      progress: called with the texts done and all of them.
    """
    config = model.config
    shape = (len(readings), len(readings[0].spans), config.num_layers, config.hidden_size)
    found = np.empty(shape, np.float32)
    for number, (place, states) in enumerate(read_states(model, params, readings), start=1):
        found[place] = states
        if progress is not None:
            progress(number, len(readings))
    return found


@functools.lru_cache(maxsize=4)
def _reader(model: Decoder) -> Callable[..., Float[Array, "layer row slot width"]]:
    @jax.jit
    def read(
        params: Params | LoraParams,
        tokens: jax.Array,
        positions: jax.Array,
        tree: TokenTree,
        weights: jax.Array,
        edits: Edits | None,
    ) -> jax.Array:
        return model.apply(
            variables(params),
            *(tokens, positions, tree, edits, Capture(weights)),
            method=Decoder.hidden_states_and_stream,
        )[1]

    return read


def _pack(
    readings: Sequence[Reading], length: int, longest: int
) -> tuple[np.ndarray, np.ndarray, TokenTree, np.ndarray]:
    """Tokens (1, length), positions, tree, weights (1, slot, length) of texts in one row, none of
    which has more than `longest` tokens."""
    tokens, positions = np.zeros((2, 1, length), np.int32)
    until = np.arange(1, length + 1, dtype=np.int32)[None].copy()
    segments = np.tile(np.array([0, 0, length, 0], np.int32), (1, MOST_TEXTS, 1))
    spans = len(readings[0].spans)
    weights = np.zeros((1, MOST_TEXTS * spans, length), np.float32)
    start = 0
    for number, reading in enumerate(readings):
        size = len(reading.tokens)
        here = slice(start, start + size)
        tokens[0, here], positions[0, here] = reading.tokens, np.arange(size)
        until[0, here] = start + size
        segments[0, number] = start, 0, start, size
        for at, (first, end) in enumerate(reading.spans):
            weights[0, number * spans + at, start + first : start + end] = 1 / (end - first)
        start += size
    tree = TokenTree(jnp.asarray(until), jnp.asarray(segments), 0, longest)
    return tokens, positions, tree, weights


def _check(readings: Sequence[Reading], most: int) -> None:
    for number, reading in enumerate(readings):
        size = len(reading.tokens)
        if size > most:
            raise ValueError(f"text {number}: {size} tokens, of at most {most}, the model's")
        for first, end in reading.spans:
            if not 0 <= first < end <= size:
                raise ValueError(
                    f"text {number}: expected a part of its {size} tokens, found {first} to {end}"
                )
        if len(reading.spans) != len(readings[0].spans):
            raise ValueError(f"text {number}: expected as many spans as the first text has")
