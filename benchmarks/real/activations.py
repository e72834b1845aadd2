"""Activations of a model's lower layers, computed once, and the upper layers as a decoder on them.

With LoRA in the upper layers alone the states that the lower ones give never change. They are kept
in a table with an entry for every token of the packed rows. A decoder of the upper layers has that
table as its embedding, and batches whose token ids are entries of it; targets and positions are as
they were. So the package's own train step and scoring do the rest, exactly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dignified_jax.data import PackedBatch, TokenizedExample
from dignified_jax.data.batch import Capacity
from dignified_jax.data.packing import build
from dignified_jax.models import families, logprobs
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Decoder, Params, output_kernel
from dignified_jax.training.step import sharding

UNIT = 64  # tokens of a packed row are a multiple of it


@dataclasses.dataclass(frozen=True)
class Batches:
    """Examples in batches of one packed row each, all of one shape.

    Attributes:
      members: of each batch the examples, by their number.
      packed: the batches on the host.
      count: of examples.
    """

    members: list[list[int]]
    packed: list[PackedBatch]
    count: int

    def in_order(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Returns what is known of each batch's examples, in the order of the examples."""
        found = np.zeros((self.count, *parts[0].shape[1:]), parts[0].dtype)
        for members, part in zip(self.members, parts, strict=True):
            found[members] = part[: len(members)]
        return found


def batches(examples: Sequence[TokenizedExample], size: int, seed: int) -> Batches:
    """Returns the examples in batches of nearly equal length, otherwise at random.

    One of each `size` strata of length is in a batch, so that rows are hardly padded.
    """
    rng = np.random.default_rng([seed, 7])
    number = -(-len(examples) // size)
    order = rng.permutation(len(examples))
    order = order[np.argsort([examples[i].length for i in order], kind="stable")[::-1]]
    members: list[list[int]] = [[] for _ in range(number)]
    for start in range(0, len(order), number):
        stratum = order[start : start + number]
        for place, example in zip(rng.permutation(number), stratum, strict=False):
            members[place].append(int(example))
    capacity = Capacity.of(examples, [[own] for own in members])
    longest = max(sum(examples[i].length for i in own) for own in members)
    packed = [
        build(
            [examples[i] for i in own],
            [range(len(own))],
            row_length=-(-longest // UNIT) * UNIT,
            capacity=capacity,
            rows=1,
            example_count=size,
        )
        for own in members
    ]
    return Batches(members, packed, len(examples))


def lower_states(
    model: Decoder, params: Params, layers: int, packed: Sequence[PackedBatch]
) -> np.ndarray:
    """Returns (batch, length, hidden) float32 states after the lowest `layers` layers.

    Raises:
      ValueError: the model's layers are not all alike, or its embeddings are scaled.
    """
    _check(model.config)
    lower = model.clone(config=dataclasses.replace(model.config, num_layers=layers))
    lowest = params | {"layers": jax.tree.map(lambda leaf: leaf[:layers], params["layers"])}

    @jax.jit
    def states(params: Params, batch: PackedBatch) -> jax.Array:
        _, stream = lower.apply(
            {"params": params},
            batch.tokens,
            batch.positions,
            logprobs.token_tree(batch),
            method=Decoder.hidden_states_and_stream,
        )
        return stream[-1, 0]

    return np.stack([np.asarray(states(lowest, batch)) for batch in packed])


def upper(
    model: Decoder, params: Params, layers: int, table: np.ndarray
) -> tuple[Decoder, dict[str, Any]]:
    """Returns the decoder of the layers above the lowest `layers`, and its parameters.

    Args:
      model, params: the whole model.
      layers: the lowest, which are left out.
      table: (entry, hidden) states below the upper layers, the embedding.
    """
    config = dataclasses.replace(
        model.config,
        num_layers=model.config.num_layers - layers,
        vocab_size=len(table),
        tie_word_embeddings=False,
    )
    highest = {
        "embed_tokens": {"embedding": jnp.asarray(table)},
        "layers": jax.tree.map(lambda leaf: leaf[layers:], params["layers"]),
        "norm": params["norm"],
        "lm_head": {"kernel": output_kernel(model.config, params)},
    }
    return model.clone(config=config), highest


def on_devices(found: Batches, first: int, mesh: Mesh) -> list[PackedBatch]:
    """Returns the batches on the devices, their tokens the entries of a table from `first` on."""
    placed = []
    for number, batch in enumerate(found.packed):
        length = batch.tokens.shape[1]
        entries = first + number * length + np.arange(length, dtype=np.int32)[None]
        batch = dataclasses.replace(batch, tokens=entries)
        placed.append(sharding.put_batch(batch, mesh, 1))
    return placed


def _check(config: DecoderConfig) -> None:
    plain = families.of(config.architecture).embedding_scale(config) == 1
    alike = not config.no_rope_layers and config.sliding_layers is None
    if not (plain and alike):
        raise ValueError(
            f"{config.architecture}: expected layers that are all alike on unscaled embeddings"
        )
