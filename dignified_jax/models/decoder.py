"""A Llama / Qwen3 decoder in Flax Linen, layers scanned with stacked parameters [layer, ...].

Parameter names follow Hugging Face's; kernels are stored (in, out), the transpose of theirs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from dignified_jax.models.attention.checkpoint_names import ATTENTION_INPUT
from dignified_jax.models.attention.dispatch import Computation, tree_attention
from dignified_jax.models.attention.token_tree import TokenTree, causal_tree
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.lora import COLLECTION, LoraConfig, LoraDense
from dignified_jax.models.remat import Remat, rematerialised
from dignified_jax.models.tensor_parallel import TensorParallel

Params = dict[str, Any]
WEIGHTS = ("params", COLLECTION)  # Linen collections


def rotary_frequencies(config: DecoderConfig) -> jax.Array:
    """Inverse frequencies (head_dim / 2,), with Llama 3's scaling where the config has it."""
    exponents = jnp.arange(0, config.head_dim, 2, dtype=jnp.float32) / config.head_dim
    frequencies = 1.0 / (config.rope_theta**exponents)
    scaling = config.rope_scaling
    if scaling is None:
        return frequencies
    # Wavelengths beyond the original context are stretched by `factor`, short ones kept, and
    # those between blended linearly in (context / wavelength).
    turns = scaling.original_max_position_embeddings * frequencies / (2 * jnp.pi)
    keep = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    keep = jnp.clip(keep, 0.0, 1.0)
    return frequencies * (keep + (1.0 - keep) / scaling.factor)


def rotate(x: jax.Array, angles: jax.Array) -> jax.Array:
    """Rotates (batch, length, heads, head_dim) by (batch, length, head_dim / 2), in float32."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = jnp.cos(angles)[:, :, None, :], jnp.sin(angles)[:, :, None, :]
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(x.dtype)


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, computed in float32."""

    epsilon: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],), jnp.float32)
        wide = x.astype(jnp.float32)
        variance = jnp.mean(jnp.square(wide), axis=-1, keepdims=True)
        normed = wide * jax.lax.rsqrt(variance + self.epsilon)
        return (normed * scale.astype(jnp.float32)).astype(x.dtype)


def _dense(
    config: DecoderConfig, features: int, dtype: Any, lora: LoraConfig, name: str
) -> nn.Dense | LoraDense:
    init = nn.initializers.normal(config.initializer_range)
    if name in lora.names:
        return LoraDense(features, lora, dtype, init, name=name)
    return nn.Dense(features, use_bias=False, dtype=dtype, kernel_init=init, name=name)


class Attention(nn.Module):
    config: DecoderConfig
    dtype: Any
    lora: LoraConfig
    tensor: TensorParallel
    attention: Computation

    @nn.compact
    def __call__(self, x: jax.Array, angles: jax.Array, tree: TokenTree) -> jax.Array:
        config, width = self.config, self.config.head_dim
        x, kind = self.tensor.enter(x), (self.dtype, self.lora)
        query = _dense(config, config.num_heads * width, *kind, "q_proj")(x)
        key = _dense(config, config.num_kv_heads * width, *kind, "k_proj")(x)
        value = _dense(config, config.num_kv_heads * width, *kind, "v_proj")(x)
        query, key, value = checkpoint_name((query, key, value), ATTENTION_INPUT)
        split = "batch length (heads width) -> batch length heads width"
        query, key, value = (rearrange(t, split, width=width) for t in (query, key, value))
        if config.qk_norm:
            query = RMSNorm(config.rms_norm_eps, name="q_norm")(query)
            key = RMSNorm(config.rms_norm_eps, name="k_norm")(key)
        query, key = rotate(query, angles), rotate(key, angles)
        mixed = tree_attention(query, key, value, tree, self.attention)
        merged = rearrange(mixed, "batch length heads width -> batch length (heads width)")
        return self.tensor.leave(_dense(config, config.hidden_size, *kind, "o_proj")(merged))


class MLP(nn.Module):
    config: DecoderConfig
    dtype: Any
    lora: LoraConfig
    tensor: TensorParallel

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x, kind = self.tensor.enter(x), (self.dtype, self.lora)
        gate = _dense(self.config, self.config.intermediate_size, *kind, "gate_proj")(x)
        up = _dense(self.config, self.config.intermediate_size, *kind, "up_proj")(x)
        down = _dense(self.config, self.config.hidden_size, *kind, "down_proj")
        return self.tensor.leave(down(_gated(gate, up)))


# The backward pass computes it again from its arguments, which are kept in any case, rather than
# keep three more arrays of the same size.
@functools.partial(jax.checkpoint, prevent_cse=False)
def _gated(gate: jax.Array, up: jax.Array) -> jax.Array:
    """The gated linear unit of SwiGLU."""
    return nn.silu(gate) * up


class Block(nn.Module):
    config: DecoderConfig
    dtype: Any
    lora: LoraConfig
    tensor: TensorParallel
    attention: Computation

    @nn.compact
    def __call__(self, x: jax.Array, angles: jax.Array, tree: TokenTree) -> tuple[jax.Array, None]:
        epsilon = self.config.rms_norm_eps
        normed = RMSNorm(epsilon, name="input_layernorm")(x)
        parts = (self.config, self.dtype, self.lora, self.tensor)
        x = x + Attention(*parts, self.attention, name="self_attn")(normed, angles, tree)
        normed = RMSNorm(epsilon, name="post_attention_layernorm")(x)
        return x + MLP(*parts, name="mlp")(normed), None


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
    dtype: Any = jnp.float32
    remat: Remat = "full"
    gather: Callable[[Params], Params] | None = None
    lora: LoraConfig = LoraConfig()
    tensor: TensorParallel = TensorParallel()
    attention: Computation = "auto"

    def setup(self) -> None:
        config = self.config
        self.embed_tokens = nn.Embed(
            config.vocab_size,
            config.hidden_size,
            dtype=self.dtype,
            embedding_init=nn.initializers.normal(config.initializer_range),
        )
        block: Any = Block
        if self.gather is not None:
            block = nn.map_variables(block, WEIGHTS, trans_in_fn=self.gather, init=False)
        self.layers = nn.scan(
            rematerialised(block, self.remat),
            variable_axes=dict.fromkeys(WEIGHTS, 0),
            split_rngs={"params": True},
            in_axes=(nn.broadcast, nn.broadcast),
            length=config.num_layers,
        )(config, self.dtype, self.lora, self.tensor, self.attention)
        self.norm = RMSNorm(config.rms_norm_eps)
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
    ) -> jax.Array:
        """Final normed hidden states (batch, length, hidden) of `tokens` (batch, length) int32.

        Args:
          tokens: (batch, length) int32.
          positions: (batch, length) int32 rotary positions; default 0, 1, 2, ...
          tree: who sees whom; default plain causal attention.
        """
        batch, length = tokens.shape
        if positions is None:
            positions = jnp.broadcast_to(jnp.arange(length), (batch, length))
        if tree is None:
            tree = causal_tree(batch, length)
        angles = positions[..., None].astype(jnp.float32) * rotary_frequencies(self.config)
        index, inside = self.tensor.own(tokens, self.config.vocab_size)
        # Cast after the look-up, so that gradients of a token's places are summed in float32.
        embedded = jnp.take(self.embed_tokens.embedding, index, axis=0).astype(self.dtype)
        embedded = self.tensor.leave(jnp.where(inside[..., None], embedded, 0))
        x, _ = self.layers(embedded, angles, tree)
        return self.norm(x)

    def __call__(
        self,
        tokens: jax.Array,
        positions: jax.Array | None = None,
        tree: TokenTree | None = None,
    ) -> jax.Array:
        """Float32 logits (batch, length, vocab); arguments as in `hidden_states`.

        With several devices of `tensor`, each returns its part of the vocabulary.
        """
        hidden = self.hidden_states(tokens, positions, tree)
        if self.config.tie_word_embeddings:
            return self.embed_tokens.attend(hidden).astype(jnp.float32)
        return self.lm_head(hidden).astype(jnp.float32)


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
    tokens = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    return jax.eval_shape(lambda t: model.init(jax.random.key(0), t), tokens)
