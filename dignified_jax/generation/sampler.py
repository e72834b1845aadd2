"""The compiled parts of sampling: prompts into slots, and some steps of all slots.

Prompts are computed packed, several in a row, and their keys and values copied into the slots. A
call of `decode` then makes up to `STEPS` tokens of every slot. In it the slots' caches are only
read; what the steps add lies in a small cache of its own, which is copied at the end.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from dignified_jax.generation.sampling import Dials, Rule, choose
from dignified_jax.generation.slots import Cache, Slots, constrained, place_axis, zeros
from dignified_jax.generation.steering import Steering
from dignified_jax.models.attention.token_tree import TokenTree
from dignified_jax.models.decoder import Decoder, Params, output_kernel
from dignified_jax.models.kv_cache import ABSENT, CACHE, FRESH
from dignified_jax.models.lora import LoraParams, variables
from dignified_jax.models.partition import KeyPath
from dignified_jax.models.residual import Edits

# Tokens of each slot that one call of `decode` makes.
STEPS = 16
# Steps done, numbers of each slot, tokens, keys and values.
_Decoding = tuple[jax.Array, dict[str, jax.Array], jax.Array, Cache]


class PackedPrompts(NamedTuple):
    """Prompts in rows, and the slots that they are for.

    Attributes:
      tokens, positions, visible_until: (row, length) int32, as in packed batches.
      row, start, length: (prompt,) int32, where each prompt is.
      slot: (prompt,) int32; of an unused entry the number of slots.
      limit: (prompt,) int32, the most tokens of the response.
      seed: (prompt,) uint32.
    """

    tokens: jax.Array
    positions: jax.Array
    visible_until: jax.Array
    row: jax.Array
    start: jax.Array
    length: jax.Array
    slot: jax.Array
    limit: jax.Array
    seed: jax.Array


class Sampler(NamedTuple):
    """A model, its parameters, and how tokens are chosen.

    Attributes:
      model, params: the decoder, and its parameter tree or that of a base and of LoRA.
      stops: (stop,) int32, tokens that end a response.
      rule, dials: see `sampling`.
      mesh: of the devices; None for one.
      steering: edits of the residual stream; None for none.
    """

    model: Decoder
    params: Params | LoraParams
    stops: jax.Array
    rule: Rule
    dials: Dials
    mesh: Mesh | None
    steering: Steering | None = None

    def prefill(self, slots: Slots, prompts: PackedPrompts) -> tuple[jax.Array, Slots]:
        """Puts prompts into slots. `slots` are given away.

        Returns:
          (first token of each response (prompt,) int32, slots).
        """
        how = {"rule": self.rule, "mesh": self.mesh, "steering": self.steering}
        return _prefill(*self[:3], self.dials, slots, prompts, **how)

    def decode(self, slots: Slots) -> tuple[jax.Array, Slots]:
        """Makes up to `STEPS` tokens of each slot that is alive. `slots` are given away.

        Returns:
          (tokens (slot, STEPS) int32, slots); the tokens are those by which `count` has grown.
        """
        how = {"rule": self.rule, "mesh": self.mesh, "steering": self.steering}
        return _decode(*self[:3], self.dials, slots, **how)


_compiled = functools.partial(
    jax.jit, static_argnames=("model", "rule", "mesh"), donate_argnames="slots"
)


@_compiled
def _prefill(
    model: Decoder,
    params: Params | LoraParams,
    stops: jax.Array,
    dials: Dials,
    slots: Slots,
    prompts: PackedPrompts,
    rule: Rule,
    mesh: Mesh | None,
    steering: Steering | None = None,
) -> tuple[jax.Array, Slots]:
    tree = TokenTree(prompts.visible_until)
    ends, edits = prompts.start + prompts.length - 1, None
    if steering is not None:
        shape = prompts.tokens.shape
        used = jnp.where(prompts.slot < slots.size, prompts.row, shape[0])
        edits = steering.of_prompts(shape, used, ends)
    hidden, fresh = _apply(model, params, prompts.tokens, prompts.positions, tree, edits=edits)
    last = hidden[prompts.row, ends]
    index = jnp.zeros_like(prompts.length)
    first = choose(_logits(model, params, last), prompts.seed, index, rule, dials)
    width = min(prompts.tokens.shape[1], slots.places)
    flat = prompts.row * prompts.tokens.shape[1] + prompts.start
    source = flat[:, None] + jnp.arange(width)  # beyond a prompt's length anything may be

    def put(path: KeyPath, cache: jax.Array, new: jax.Array) -> jax.Array:
        new = new.reshape(new.shape[0], -1, *new.shape[3:])  # (layer, row * length, head, width)
        new = jnp.take(new, source, axis=1, mode="clip")  # (layer, prompt, place, head, width)
        if place_axis(path) == 4:
            return cache.at[:, prompts.slot, :, :, :width].set(
                new.transpose(0, 1, 3, 4, 2), mode="drop"
            )
        return cache.at[:, prompts.slot, :, :width].set(new.transpose(0, 1, 3, 2, 4), mode="drop")

    changes = {
        "last": first,
        "length": prompts.length,
        "count": jnp.ones_like(first),
        "limit": prompts.limit,
        "seed": prompts.seed,
        "alive": ~jnp.isin(first, stops) & (prompts.limit > 1),
    }
    filled = dataclasses.replace(
        slots,
        cache=jax.tree.map_with_path(put, slots.cache, fresh),
        **{
            name: getattr(slots, name).at[prompts.slot].set(value, mode="drop")
            for name, value in changes.items()
        },
    )
    return first, constrained(filled, mesh)


@_compiled
def _decode(
    model: Decoder,
    params: Params | LoraParams,
    stops: jax.Array,
    dials: Dials,
    slots: Slots,
    rule: Rule,
    mesh: Mesh | None,
    steering: Steering | None = None,
) -> tuple[jax.Array, Slots]:
    begun = slots.length
    edits = None if steering is None else steering.of_tokens()
    places = jnp.arange(slots.places)
    before = jnp.where(places < begun[:, None], places, ABSENT)
    numbers = {name: getattr(slots, name) for name in ("last", "length", "count", "alive")}
    tokens = jnp.zeros((slots.size, STEPS), jnp.int32)
    state = (jnp.int32(0), numbers, tokens, _recent(slots.cache))

    def go_on(state: _Decoding) -> jax.Array:
        return (state[0] < STEPS) & state[1]["alive"].any()

    def step(state: _Decoding) -> _Decoding:
        number, now, tokens, recent = state
        added = jnp.arange(STEPS)
        since = jnp.where(added < number, begun[:, None] + added, ABSENT)
        positions = now["length"][:, None]
        tree = TokenTree(
            jnp.ones_like(positions),
            positions=positions,
            key_positions=jnp.concatenate([before, since], axis=1),
        )
        cache = _in_layers(slots.cache, recent)
        last = now["last"][:, None]
        hidden, fresh = _apply(model, params, last, positions, tree, cache, edits)
        logits = _logits(model, params, hidden[:, 0])
        chosen = choose(logits, slots.seed, now["count"], rule, dials)
        count = now["count"] + now["alive"]
        going_on = now["alive"] & ~jnp.isin(chosen, stops) & (count < slots.limit)
        # A slot that has ended stays where it is; what it goes on to compute is not looked at.
        length = now["length"] + now["alive"]
        now = {"last": chosen, "length": length, "count": count, "alive": going_on}
        tokens = jax.lax.dynamic_update_slice(tokens, chosen[:, None], (0, number))
        return number + 1, now, tokens, _add(recent, fresh, number)

    _, now, tokens, recent = jax.lax.while_loop(go_on, step, state)

    def flush(path: KeyPath, cache: jax.Array, new: jax.Array) -> jax.Array:
        update = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=place_axis(path) - 1)
        return jax.vmap(update, in_axes=(1, 1, 0), out_axes=1)(cache, new, begun)

    cache = jax.tree.map_with_path(flush, slots.cache, recent)
    return tokens, constrained(dataclasses.replace(slots, cache=cache, **now), mesh)


def _apply(
    model: Decoder,
    params: Params | LoraParams,
    tokens: jax.Array,
    positions: jax.Array,
    tree: TokenTree,
    cache: Cache | None = None,
    edits: Edits | None = None,
) -> tuple[jax.Array, Cache]:
    """Hidden states (row, length, hidden); keys, values (layer, row, length, head, width)."""
    weights = variables(params) | ({} if cache is None else {CACHE: cache})
    hidden, changed = model.apply(
        weights, tokens, positions, tree, edits, method=Decoder.hidden_states, mutable=[FRESH]
    )
    return hidden, changed[FRESH]


def _logits(model: Decoder, params: Params | LoraParams, hidden: jax.Array) -> jax.Array:
    """(row, vocabulary) float32 of (row, hidden)."""
    kernel = output_kernel(model.config, variables(params)["params"]).astype(model.dtype)
    states = hidden.astype(model.dtype)
    return jnp.einsum("rh,hv->rv", states, kernel, preferred_element_type=jnp.float32)


def _recent(cache: Cache) -> Cache:
    """Returns an empty cache of `STEPS` places for the same slots."""

    def fresh(path: KeyPath, leaf: jax.Array) -> jax.ShapeDtypeStruct:
        layers, _, heads, *inner = leaf.shape
        width = inner[0] if place_axis(path) == 4 else inner[1]
        return jax.ShapeDtypeStruct((layers, 1, 1, heads, width), leaf.dtype)

    size = jax.tree.leaves(cache)[0].shape[1]
    return zeros(jax.tree.map_with_path(fresh, cache), size, STEPS)


def _add(recent: Cache, fresh: Cache, number: jax.Array) -> Cache:
    """Puts one token's keys and values into place `number` of all slots."""

    def put(path: KeyPath, cache: jax.Array, new: jax.Array) -> jax.Array:
        axis = place_axis(path)
        new = jnp.expand_dims(new[:, :, 0], axis)
        return jax.lax.dynamic_update_slice_in_dim(cache, new, number, axis)

    return jax.tree.map_with_path(put, recent, fresh)


def _in_layers(cache: Cache, recent: Cache) -> Cache:
    """Both caches under the names by which a layer reads them."""
    found: Cache = {}
    for name, inner in cache.items():
        if isinstance(inner, dict):
            found[name] = _in_layers(inner, recent[name])
        else:
            found |= {name: inner, f"recent_{name}": recent[name]}
    return found
