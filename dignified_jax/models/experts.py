"""Mixtures of experts: a router sends each token through a few feed-forward networks of many.

Shazeer et al., "Outrageously Large Neural Networks" (2017), without a capacity: tokens are sorted
by expert, and each expert computes as many as it was given (`models.grouped`). Over the mesh axis
``tensor`` each device holds a part of the experts, and its tokens' results are summed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from dignified_jax.models.attention.token_tree import TokenTree
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.gating import gated
from dignified_jax.models.grouped import Groups, from_groups, grouped_product, to_groups
from dignified_jax.models.tensor_parallel import TensorParallel

# Name of the module whose parameters are stacked over experts, (expert, ...).
EXPERTS = "experts"


class ExpertLoad(NamedTuple):
    """Sums over the tokens of rows, padding left out.

    Attributes:
      chosen: (layer, expert) float32, how many tokens each expert was given.
      probability: (layer, expert) float32, of the router's probabilities.
      tokens: (layer,) float32, how many there were.
    """

    chosen: jax.Array
    probability: jax.Array
    tokens: jax.Array

    def balance_loss(self) -> jax.Array:
        """Returns the mean over layers of E sum_e f_e P_e for E experts, () float32.

        f_e are the choices of expert e and P_e the router's probability, both a token. It is the
        number of experts of a token where all have equal loads. (Fedus et al., "Switch
        Transformers", 2021, equation 4; the gradient is that of P alone.)
        """
        tokens = jnp.maximum(self.tokens, 1.0)[:, None]
        products = jnp.sum(self.chosen / tokens * (self.probability / tokens), axis=-1)
        return self.chosen.shape[-1] * jnp.mean(products)

    def busiest(self) -> jax.Array:
        """Returns the largest load of an expert over its layer's mean, () float32; 1 is even."""
        mean = jnp.maximum(self.chosen.mean(axis=-1), 1.0)
        return jnp.max(self.chosen.max(axis=-1) / mean)


class ExpertMLP(nn.Module):
    """A layer's router and experts. The router computes in float32."""

    config: DecoderConfig
    dtype: DTypeLike
    tensor: TensorParallel
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array, tree: TokenTree) -> tuple[jax.Array, ExpertLoad]:
        """Output for `x` (batch, length, hidden), and the load without its axis of layers."""
        experts, config = self.config.experts, self.config
        held = experts.count // experts.parts
        init = nn.initializers.normal(config.initializer_range)
        states = x.reshape(-1, x.shape[-1])
        used = tree.tokens().reshape(-1)
        router = nn.Dense(
            experts.count,
            use_bias=False,
            dtype=jnp.float32,
            precision="highest",
            kernel_init=init,
            name="gate",
        )
        probability = jax.nn.softmax(router(states.astype(jnp.float32)))
        weights, chosen = jax.lax.top_k(probability, experts.per_token)
        if experts.normalised:
            weights = weights / weights.sum(axis=-1, keepdims=True)
        # To none of the experts, where there is no token or another device has them.
        own, inside = self.tensor.own(chosen, held)
        own = jnp.where(inside & used[:, None], own, held)
        apply = _Experts(config, held, self.dtype, self.activation, name=EXPERTS)
        mixed = apply(self.tensor.enter(states), own, self.tensor.enter(weights))
        counts = jnp.zeros(experts.count).at[chosen].add(used[:, None].astype(jnp.float32))
        counted = jnp.where(used[:, None], probability, 0.0).sum(axis=0)
        load = ExpertLoad(counts, counted, used.sum(dtype=jnp.float32))
        return self.tensor.leave(mixed).reshape(x.shape), load


class _Experts(nn.Module):
    config: DecoderConfig
    count: int
    dtype: DTypeLike
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array, chosen: jax.Array, weights: jax.Array) -> jax.Array:
        """Sum of the outputs of each token's experts, by weight.

        Args:
          x: (token, hidden).
          chosen: (token, choice) int32; the number of experts stands for none.
          weights: (token, choice) float32.
        """
        hidden, inner = x.shape[-1], self.config.experts.intermediate_size
        groups = Groups.of(chosen.reshape(-1), self.count)

        def product(name: str, rows: jax.Array, width: int) -> jax.Array:
            init = nn.initializers.normal(self.config.initializer_range)
            kernel = self.param(name, init, (self.count, rows.shape[-1], width), jnp.float32)
            return grouped_product(rows, kernel.astype(self.dtype), groups)

        rows = to_groups(x.astype(self.dtype), groups)
        gate, up = (product(name, rows, inner) for name in ("gate_proj", "up_proj"))
        out = product("down_proj", gated(gate, up, self.activation), hidden)
        by_token = from_groups(out, groups).reshape(*chosen.shape, hidden)
        return jnp.einsum("tch,tc->th", by_token.astype(jnp.float32), weights).astype(self.dtype)
