"""The sequences that are sampled together, a slot each: their caches and where they stand."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dignified_jax.models.decoder import Decoder
from dignified_jax.models.kv_cache import FRESH
from dignified_jax.models.partition import BATCH_AXES, TENSOR_AXIS, KeyPath

# Arrays by the path of their layer's attention in the decoder, then "key" or "value".
Cache = dict[str, Any]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["cache", "last", "length", "count", "limit", "seed", "alive"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Slots:
    """State of all slots.

    Attributes:
      cache: keys (layer, slot, kv_head, head_dim, place), values (layer, slot, kv_head, place,
        head_dim); a token's place is its position.
      last: (slot,) int32, the token that is computed next.
      length: (slot,) int32, tokens in the cache: the position of `last`.
      count: (slot,) int32, tokens of the response so far, `last` among them.
      limit: (slot,) int32, the most of them.
      seed: (slot,) uint32, of the request.
      alive: (slot,) bool, whether the response goes on.
    """

    cache: Cache
    last: jax.Array
    length: jax.Array
    count: jax.Array
    limit: jax.Array
    seed: jax.Array
    alive: jax.Array

    @property
    def places(self) -> int:
        """Tokens that a slot's cache has room for."""
        key, _ = jax.tree.leaves(self.cache)[:2]  # sorted by name: key, value
        return key.shape[-1]

    @property
    def size(self) -> int:
        """Number of slots."""
        return self.last.shape[0]


def empty(model: Decoder, size: int, places: int, mesh: Mesh | None) -> Slots:
    """Allocates slots, split over the batch axes of the mesh, their heads over its tensor axis."""
    shapes = fresh_shapes(model)

    def allocate() -> Slots:
        numbers = jnp.zeros(size, jnp.int32)
        return Slots(
            cache=zeros(shapes, size, places),
            **{name: numbers for name in ("last", "length", "count", "limit")},
            seed=numbers.astype(jnp.uint32),
            alive=jnp.zeros(size, bool),
        )

    return jax.jit(allocate, out_shardings=shardings(jax.eval_shape(allocate), mesh))()


@functools.partial(jax.jit, static_argnames=("places", "mesh"))
def rearrange(slots: Slots, order: jax.Array, places: int, mesh: Mesh | None) -> Slots:
    """Other slots of other lengths with the same content.

    Args:
      slots: the former ones.
      order: (new slot,) int32, the slot whose content each gets; -1 for none.
      places: of the new ones; at least the length of all that stay.
      mesh: of the devices.
    """
    there = order >= 0

    def resized(path: KeyPath, leaf: jax.Array) -> jax.Array:
        axis = place_axis(path)
        taken = jnp.take(leaf, jnp.maximum(order, 0), axis=1)
        if places <= taken.shape[axis]:
            return jax.lax.slice_in_dim(taken, 0, places, axis=axis)
        padding = [(0, 0)] * taken.ndim
        padding[axis] = (0, places - taken.shape[axis])
        return jnp.pad(taken, padding)

    numbers = {
        field.name: jnp.where(there, getattr(slots, field.name)[order], 0)
        for field in dataclasses.fields(slots)
        if field.name not in ("cache", "alive")
    }
    new = Slots(
        cache=jax.tree.map_with_path(resized, slots.cache),
        **numbers,
        alive=there & slots.alive[order],
    )
    return constrained(new, mesh)


def fresh_shapes(model: Decoder) -> Cache:
    """Shapes of the keys and values that one token of one row adds, (layer, 1, 1, head, width)."""
    token = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    init = lambda tokens: model.init(jax.random.key(0), tokens)  # noqa: E731
    weights = jax.eval_shape(init, token)
    hidden = functools.partial(model.apply, method=Decoder.hidden_states, mutable=[FRESH])
    return jax.eval_shape(hidden, weights, token)[1][FRESH]


def zeros(shapes: Cache, size: int, places: int) -> Cache:
    """An empty cache of some slots and places; `shapes` are those of `fresh_shapes`."""

    def allocate(path: KeyPath, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        layers, _, _, heads, width = leaf.shape
        inner = (width, places) if place_axis(path) == 4 else (places, width)
        return jnp.zeros((layers, size, heads, *inner), leaf.dtype)

    return jax.tree.map_with_path(allocate, shapes)


def place_axis(path: KeyPath) -> int:
    """The axis of places in the array at a path of a cache."""
    return 4 if path[-1].key == "key" else 3


def constrained(slots: Slots, mesh: Mesh | None) -> Slots:
    """Keeps slots split over the mesh, inside of `jax.jit`."""
    if mesh is None:
        return slots
    return jax.lax.with_sharding_constraint(slots, shardings(slots, mesh))


def shardings(slots: Slots, mesh: Mesh | None) -> Slots | None:
    """How slots lie on the mesh; None without one."""
    if mesh is None:
        return None
    axes = tuple(axis for axis in BATCH_AXES if axis in mesh.shape)

    def of(leaf: jax.Array) -> NamedSharding:
        if len(leaf.shape) == 1:
            return NamedSharding(mesh, PartitionSpec(axes))
        tensor = mesh.shape.get(TENSOR_AXIS, 1)
        heads = TENSOR_AXIS if tensor > 1 and leaf.shape[2] % tensor == 0 else None
        return NamedSharding(mesh, PartitionSpec(None, axes, heads))

    return jax.tree.map(of, slots)


def shares(mesh: Mesh | None) -> int:
    """Over how many parts of the mesh slots are split."""
    if mesh is None:
        return 1
    return int(np.prod([mesh.shape.get(axis, 1) for axis in BATCH_AXES]))
