"""A decoder in Flax Linen, layers scanned with stacked parameters [layer, ...].

How a layer is made is up to the model's family (`models.families`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from dignified_jax.models import families, kv_cache, residual
from dignified_jax.models.attention.dispatch import Computation
from dignified_jax.models.attention.token_tree import TokenTree, causal_tree
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.experts import ExpertLoad
from dignified_jax.models.layers import Layer, RMSNorm, RowContext
from dignified_jax.models.lora import COLLECTION, LoraConfig
from dignified_jax.models.remat import Remat, rematerialised
from dignified_jax.models.residual import Capture, Edits, Hook
from dignified_jax.models.rotary import RopeScaling, rotary_frequencies
from dignified_jax.models.tensor_parallel import TensorParallel

Params = dict[str, Any]
WEIGHTS = ("params", COLLECTION)  # Linen collections


class Decoder(nn.Module):
    """Causal decoder.

    With jax 0.10.2 on CPUs don't vmap its gradient (`jax.jacrev` does): XLA gets that of `RMSNorm`
    wrong beyond the first, see `training.step`.

    Attributes:
      config: geometry.
      dtype: compute dtype; norms, softmax and rotary embeddings are float32 whatever it is.
      remat: what each layer keeps for the backward pass, see `models.remat`.
      gather: applied to one layer's parameters inside the scanned body; the train step uses it
        to gather sharded weights a layer at a time. None leaves them as they are.
      lora: matrices that have LoRA beside them; its tree is the collection "lora".
      tensor: devices that compute a row together; `config` is then that of one device's part.
      attention: computation of the attention, see `models.attention`.
    """

    config: DecoderConfig
    dtype: DTypeLike = jnp.float32
    remat: Remat = "full"
    gather: Callable[[Params], Params] | None = None
    lora: LoraConfig = LoraConfig()
    tensor: TensorParallel = TensorParallel()
    attention: Computation = "auto"

    def setup(self) -> None:
        config, family = self.config, families.of(self.config.architecture)
        self.embed_tokens = nn.Embed(
            config.vocab_size,
            config.hidden_size,
            dtype=self.dtype,
            embedding_init=nn.initializers.normal(config.initializer_range),
        )
        block: type[nn.Module] = residual.hooked(family.layer)
        if self.gather is not None:
            block = nn.map_variables(block, WEIGHTS, trans_in_fn=self.gather, init=False)
        self.layers = nn.scan(
            rematerialised(block, self.remat),
            variable_axes=dict.fromkeys((*WEIGHTS, kv_cache.FRESH), 0),
            variable_broadcast=kv_cache.CACHE,
            split_rngs={"params": True},
            in_axes=(nn.broadcast, 0, nn.broadcast, 0),
            length=config.num_layers,
        )(config, family.traits, self.dtype, self.lora, self.tensor, self.attention)
        self.norm = RMSNorm(config.rms_norm_eps, family.traits.norm_offset)
        if not config.tie_word_embeddings:
            init = nn.initializers.normal(config.initializer_range)
            self.lm_head = nn.Dense(
                config.vocab_size, use_bias=False, dtype=self.dtype, kernel_init=init
            )

    def hidden_states(
        self,
        tokens: jax.Array,
        positions: jax.Array | None = None,
        tree: TokenTree | None = None,
        edits: Edits | None = None,
    ) -> jax.Array:
        """Final normed hidden states (batch, length, hidden) of `tokens` (batch, length) int32.

        Args:
          tokens: (batch, length) int32.
          positions: (batch, length) int32 rotary positions; default 0, 1, 2, ...
          tree: who sees whom; default plain causal attention.
          edits: of the residual stream, see `models.residual`.
        """
        return self._run(tokens, positions, tree, edits)[0]

    def hidden_states_and_load(
        self,
        tokens: jax.Array,
        positions: jax.Array | None = None,
        tree: TokenTree | None = None,
        edits: Edits | None = None,
    ) -> tuple[jax.Array, ExpertLoad | None]:
        """Those of `hidden_states`, and what each layer's experts had to do, if there are any.

        Arguments as in `hidden_states`.
        """
        return self._run(tokens, positions, tree, edits)[:2]

    def hidden_states_and_stream(
        self,
        tokens: jax.Array,
        positions: jax.Array | None = None,
        tree: TokenTree | None = None,
        edits: Edits | None = None,
        capture: Capture = Capture(),  # noqa: B008  (frozen)
    ) -> tuple[jax.Array, jax.Array]:
        """Those of `hidden_states`, and the residual stream after each layer.

        Args:
          tokens, positions, tree, edits: as in `hidden_states`.
          capture: what of the stream.

        Returns:
          Hidden states, and (layer, batch, slot, hidden) float32; without weights in `capture`
          (layer, batch, length, hidden) in the compute dtype.
        """
        hidden, _, captured = self._run(tokens, positions, tree, edits, capture)
        return hidden, captured

    def _run(
        self,
        tokens: jax.Array,
        positions: jax.Array | None,
        tree: TokenTree | None,
        edits: Edits | None,
        capture: Capture | None = None,
    ) -> tuple[jax.Array, ExpertLoad | None, jax.Array | None]:
        """Hidden states, the experts' load and what was captured."""
        batch, length = tokens.shape
        if positions is None:
            positions = jnp.broadcast_to(jnp.arange(length), (batch, length))
        if tree is None:
            tree = causal_tree(batch, length)
        config = self.config

        def angles(theta: float, scaling: RopeScaling | None) -> jax.Array:
            context = config.max_position_embeddings
            rates = rotary_frequencies(config.head_dim, theta, scaling, context, positions)
            return positions[..., None].astype(jnp.float32) * rates

        local = None
        if config.local_rope_theta is not None:
            local = angles(config.local_rope_theta, None)
        cached = tree.key_positions is not None
        if config.sliding_window is not None and (cached or config.sliding_window < length):
            tree = dataclasses.replace(tree, positions=positions, window=config.sliding_window)
        rows = RowContext(angles(config.rope_theta, config.rope_scaling), local, tree)
        index, inside = self.tensor.own(tokens, config.vocab_size)
        # Cast after the look-up, so that gradients of a token's places are summed in float32.
        embedded = jnp.take(self.embed_tokens.embedding, index, axis=0).astype(self.dtype)
        embedded = self.tensor.leave(jnp.where(inside[..., None], embedded, 0))
        if (scale := families.of(config.architecture).embedding_scale(config)) != 1:
            embedded = embedded * jnp.asarray(scale, self.dtype)
        where, edits = residual.split(edits)
        layers = _layers(config, cached)
        x, (load, captured) = self.layers(embedded, rows, layers, Hook(where, capture), edits)
        return self.norm(x), load, captured

    def __call__(
        self,
        tokens: jax.Array,
        positions: jax.Array | None = None,
        tree: TokenTree | None = None,
        edits: Edits | None = None,
    ) -> jax.Array:
        """Float32 logits (batch, length, vocab); arguments as in `hidden_states`.

        With several devices of `tensor`, each returns its part of the vocabulary.
        """
        hidden = self.hidden_states(tokens, positions, tree, edits)
        if self.config.tie_word_embeddings:
            return self.embed_tokens.attend(hidden).astype(jnp.float32)
        return self.lm_head(hidden).astype(jnp.float32)


def _layers(config: DecoderConfig, cached: bool) -> Layer:
    """Returns what differs from layer to layer, arrays (layer,)."""
    rotates = slides = None
    if config.no_rope_layers:
        without = jnp.array(config.no_rope_layers)
        rotates = jnp.ones(config.num_layers).at[without].set(0.0)
    if config.sliding_layers is not None or config.local_rope_theta is not None:
        slides = jnp.array([window is not None for window in config.windows])
    index = jnp.arange(config.num_layers) if cached else None
    return Layer(rotates, slides, index)


def output_kernel(config: DecoderConfig, params: Params) -> jax.Array:
    """The (hidden, vocab) matrix that turns hidden states into logits."""
    if config.tie_word_embeddings:
        return params["embed_tokens"]["embedding"].T
    return params["lm_head"]["kernel"]


def abstract_params(config: DecoderConfig) -> Params:
    """The parameter tree as `jax.ShapeDtypeStruct`s, nothing allocated."""
    return _abstract(Decoder(config))["params"]


def abstract_lora(config: DecoderConfig, lora: LoraConfig) -> Params:
    """LoRA's tree likewise; `lora` has a rank."""
    return _abstract(Decoder(config, lora=lora))[COLLECTION]


def _abstract(model: Decoder) -> dict[str, Params]:
    return jax.tree.map(lambda leaf: leaf, _traced(model))  # containers of its own


@functools.lru_cache(maxsize=32)
def _traced(model: Decoder) -> dict[str, Params]:
    """Traced once a model: reading, planning and counting ask for it again and again."""
    tokens = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    return jax.eval_shape(lambda t: model.init(jax.random.key(0), t), tokens)
