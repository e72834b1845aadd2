"""The residual stream after each layer: what is read of it, and how it is edited.

Layer n is the n-th decoder layer from 0, and its stream what that layer puts out, after any edit:
what a forward hook on ``model.layers.n`` of transformers sees. With neither edits nor a capture the
decoder computes the same program as without this module.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Float32

from dignified_jax.models.config import DecoderConfig

if TYPE_CHECKING:  # they read the stream's hooks
    from dignified_jax.models.experts import ExpertLoad
    from dignified_jax.models.layers import Layer, RowContext


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["added", "axes", "low", "high", "where"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Edits:
    """Edits of all layers' streams. First the vectors are added, then one axis after the other is
    held within its bounds, each by a step along itself.

    Attributes:
      added: (layer, width) float32, added to each token's stream; None adds nothing.
      axes: (layer, direction, width) float32, each of length 1, or 0 where a layer has none; None
        holds nothing.
      low, high: (layer, direction) float32, bounds of the product of a token's stream with an
        axis; infinite where there is none.
      where: (row, length) bool, tokens that are edited; None for all.
    """

    added: Float[Array, "layer width"] | None = None
    axes: Float[Array, "layer direction width"] | None = None
    low: Float[Array, "layer direction"] | None = None
    high: Float[Array, "layer direction"] | None = None
    where: Bool[Array, "row length"] | None = None


@functools.partial(jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Capture:
    """Weights by which every layer's stream is read.

    Attributes:
      weights: (row, slot, length) float32, the weight of each token in a sum; 1 at a single token
        reads its state, and 1/n at n tokens their mean. None reads every token.
    """

    weights: Float[Array, "row slot length"] | None = None

    def read(self, x: jax.Array) -> jax.Array:
        """Returns (row, slot, width) float32 of (row, length, width); all of it without weights."""
        if self.weights is None:
            return x
        return jnp.einsum(
            "rsl,rlw->rsw",
            self.weights,
            x,
            precision="highest",
            preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
        )


class Cap(NamedTuple):
    """Bounds of one layer's stream along an axis.

    Attributes:
      layer: its number.
      axis: (width,), of any length but 0.
      low, high: bounds of the product with the axis scaled to length 1; infinite for none.
    """

    layer: int
    axis: ArrayLike
    low: float = -np.inf
    high: float = np.inf


def make_edits(
    config: DecoderConfig, added: Mapping[int, ArrayLike] | None = None, caps: Sequence[Cap] = ()
) -> Edits:
    """Makes edits of some layers.

    Args:
      config: of the decoder.
      added: layer -> vector (width,) that is added to its stream.
      caps: bounds; those of one layer are held in this order.

    Raises:
      ValueError: a layer that the model does not have; a vector of another width, with a number
        that is not finite, or an axis of length 0; bounds that nothing is within.
    """
    edits = Edits()
    layers, width = config.num_layers, config.hidden_size
    if added:
        sums = np.zeros((layers, width), np.float32)
        for layer, vector in added.items():
            sums[_checked(layer, layers)] = _vector(vector, layer, width)
        edits = dataclasses.replace(edits, added=jnp.asarray(sums))
    if not caps:
        return edits
    numbers = [cap.layer for cap in caps]
    most = max(numbers.count(layer) for layer in numbers)
    axes = np.zeros((layers, most, width), np.float32)
    low, high = np.full((layers, most), -np.inf), np.full((layers, most), np.inf)
    for place, cap in enumerate(caps):
        at = _checked(cap.layer, layers), numbers[:place].count(cap.layer)
        axis = _vector(cap.axis, cap.layer, width)
        length = np.linalg.norm(axis)
        if not length:
            raise ValueError(f"layer {cap.layer}: expected an axis, found a vector of length 0")
        if not cap.low <= cap.high:
            raise ValueError(
                f"layer {cap.layer}: expected bounds low <= high, found {cap.low} and {cap.high}"
            )
        axes[at], low[at], high[at] = axis / length, cap.low, cap.high
    bounds = {"low": jnp.asarray(low, jnp.float32), "high": jnp.asarray(high, jnp.float32)}
    return dataclasses.replace(edits, axes=jnp.asarray(axes), **bounds)


def _checked(layer: int, layers: int) -> int:
    if not 0 <= layer < layers:
        raise ValueError(f"expected a layer from 0 to {layers - 1}, found {layer}")
    return layer


def _vector(vector: ArrayLike, layer: int, width: int) -> np.ndarray:
    found = np.asarray(vector, np.float32)
    if found.shape != (width,):
        raise ValueError(
            f"layer {layer}: expected a vector of the model's width {width}, found {found.shape}"
        )
    if not np.isfinite(found).all():
        raise ValueError(f"layer {layer}: expected a vector of finite numbers, found others")
    return found


def edited(x: jax.Array, edits: Edits, where: jax.Array | None) -> jax.Array:
    """Returns one layer's stream (row, length, width), edited; computed in float32 or wider.

    Args:
      x: the stream.
      edits: of this layer, their arrays without the first axis, and without `where`.
      where: (row, length) bool, tokens that are edited; None for all.
    """
    new = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    if edits.added is not None:
        new = new + edits.added
    if edits.axes is not None:
        # Most layers have no axis, and do without the passes over the stream.
        new = jax.lax.cond(jnp.any(edits.axes), _held, lambda x, _: x, new, edits)
    new = new.astype(x.dtype)
    return new if where is None else jnp.where(where[..., None], new, x)


def _held(x: jax.Array, edits: Edits) -> jax.Array:
    for axis, low, high in zip(edits.axes, edits.low, edits.high, strict=True):
        along = jnp.sum(x * axis, axis=-1, keepdims=True)
        x = x + (jnp.clip(along, low, high) - along) * axis
    return x


class Hook(NamedTuple):
    """The part of a capture and of edits that all layers share.

    Attributes:
      where: tokens that are edited, see `Edits`.
      capture: what is read.
    """

    where: jax.Array | None = None
    capture: Capture | None = None


@functools.cache
def hooked(block: type[nn.Module]) -> type[nn.Module]:
    """Returns a layer's class with two more arguments and one more result.

    It takes `Hook`, the same for all layers, and `Edits` of the layer, or None; beside the stream
    it gives (what the layer gave, what was captured or None).
    """

    class Hooked(block):
        def __call__(
            self, x: jax.Array, rows: RowContext, layer: Layer, hook: Hook, edits: Edits | None
        ) -> tuple[jax.Array, tuple[ExpertLoad | None, Float32[Array, "row slot width"] | None]]:
            x, beside = super().__call__(x, rows, layer)
            if edits is not None:
                x = edited(x, edits, hook.where)
            return x, (beside, None if hook.capture is None else hook.capture.read(x))

    Hooked.__name__ = Hooked.__qualname__ = block.__name__
    return Hooked


def split(edits: Edits | None) -> tuple[jax.Array | None, Edits | None]:
    """Returns (`where`, the arrays that have an axis of layers)."""
    if edits is None or all(leaf is None for leaf in (edits.added, edits.axes)):
        return None, None
    return edits.where, dataclasses.replace(edits, where=None)
