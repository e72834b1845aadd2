"""The parts of a decoder layer, and Llama's layer, from which the families differ by `Traits`.

Parameter names follow Hugging Face's; kernels are stored (in, out), the transpose of theirs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike

from dignified_jax.models import kv_cache
from dignified_jax.models.attention.checkpoint_names import ATTENTION_INPUT
from dignified_jax.models.attention.dispatch import Computation
from dignified_jax.models.attention.token_tree import TokenTree
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.experts import ExpertLoad, ExpertMLP
from dignified_jax.models.gating import gated
from dignified_jax.models.lora import LoraConfig, LoraDense
from dignified_jax.models.rotary import rotary_magnitude, rotate
from dignified_jax.models.tensor_parallel import TensorParallel


@dataclasses.dataclass(frozen=True)
class Traits:
    """How a family's layer differs from Llama's.

    Attributes:
      qk_norm: queries and keys are RMS-normalised per head.
      qkv_bias: the products that make queries, keys and values have a bias.
      norm_offset: added to the scales of all norms.
      activation: of the feed-forward network's gate.
    """

    qk_norm: bool = False
    qkv_bias: bool = False
    norm_offset: float = 0.0
    activation: Callable[[jax.Array], jax.Array] = nn.silu


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["angles", "local_angles", "tree"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class RowContext:
    """Context of the rows, which all layers see.

    Attributes:
      angles: (batch, length, head_dim / 2) float32, of the rotary embeddings.
      local_angles: those of the layers with a sliding window, where they differ.
      tree: who sees whom.
    """

    angles: jax.Array
    local_angles: jax.Array | None
    tree: TokenTree

    def of(self, layer: Layer) -> tuple[jax.Array, TokenTree]:
        """Returns angles and tree of one layer."""
        angles, tree = self.angles, dataclasses.replace(self.tree, layer=layer.index)
        if layer.slides is not None:
            tree = dataclasses.replace(tree, slides=layer.slides)
            if self.local_angles is not None:
                angles = jnp.where(layer.slides, self.local_angles, angles)
        return (angles if layer.rotates is None else angles * layer.rotates), tree


class Layer(NamedTuple):
    """Traits that differ from layer to layer; arrays (layer,) where layers are scanned.

    Attributes:
      rotates: () float32, 0 in a layer without rotary embeddings; None where all have them.
      slides: () bool, whether the layer has the sliding window; None where all have or none has.
      index: () int32, the layer's place in a cache; None without one.
    """

    rotates: jax.Array | None
    slides: jax.Array | None
    index: jax.Array | None = None


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, computed in float32.

    Attributes:
      epsilon: added to the mean square.
      offset: added to the scale.
    """

    epsilon: float
    offset: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        first = nn.initializers.constant(1.0 - self.offset)
        scale = self.param("scale", first, (x.shape[-1],), jnp.float32)
        if self.offset:
            scale = scale.astype(jnp.float32) + self.offset
        wide = x.astype(jnp.float32)
        variance = jnp.mean(jnp.square(wide), axis=-1, keepdims=True)
        normed = wide * jax.lax.rsqrt(variance + self.epsilon)
        return (normed * scale.astype(jnp.float32)).astype(x.dtype)


def dense(
    config: DecoderConfig,
    features: int,
    dtype: DTypeLike,
    lora: LoraConfig,
    name: str,
    bias: bool = False,
) -> nn.Dense | LoraDense:
    """A product with a weight matrix, with LoRA beside it where `lora` names it."""
    init = nn.initializers.normal(config.initializer_range)
    if name in lora.names:
        return LoraDense(features, lora, dtype, init, bias, name=name)
    return nn.Dense(features, use_bias=bias, dtype=dtype, kernel_init=init, name=name)


class Attention(nn.Module):
    config: DecoderConfig
    traits: Traits
    dtype: DTypeLike
    lora: LoraConfig
    tensor: TensorParallel
    attention: Computation

    @nn.compact
    def __call__(self, x: jax.Array, angles: jax.Array, tree: TokenTree) -> jax.Array:
        config, traits, width = self.config, self.traits, self.config.head_dim
        x, kind = self.tensor.enter(x), (self.dtype, self.lora)
        bias = traits.qkv_bias
        query = dense(config, config.num_heads * width, *kind, "q_proj", bias)(x)
        key = dense(config, config.num_kv_heads * width, *kind, "k_proj", bias)(x)
        value = dense(config, config.num_kv_heads * width, *kind, "v_proj", bias)(x)
        query, key, value = checkpoint_name((query, key, value), ATTENTION_INPUT)
        split = "batch length (heads width) -> batch length heads width"
        query, key, value = (rearrange(t, split, width=width) for t in (query, key, value))
        if traits.qk_norm:
            norm = functools.partial(RMSNorm, config.rms_norm_eps, traits.norm_offset)
            query, key = norm(name="q_norm")(query), norm(name="k_norm")(key)
        magnitude = rotary_magnitude(config.rope_scaling)
        query = rotate(query, angles, magnitude * config.query_scale)
        key = rotate(key, angles, magnitude)
        mixed = kv_cache.attend(self, query, key, value, tree, self.attention)
        merged = rearrange(mixed, "batch length heads width -> batch length (heads width)")
        return self.tensor.leave(dense(config, config.hidden_size, *kind, "o_proj")(merged))


class MLP(nn.Module):
    config: DecoderConfig
    dtype: DTypeLike
    lora: LoraConfig
    tensor: TensorParallel
    activation: Callable[[jax.Array], jax.Array] = nn.silu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x, kind = self.tensor.enter(x), (self.dtype, self.lora)
        gate = dense(self.config, self.config.intermediate_size, *kind, "gate_proj")(x)
        up = dense(self.config, self.config.intermediate_size, *kind, "up_proj")(x)
        down = dense(self.config, self.config.hidden_size, *kind, "down_proj")
        return self.tensor.leave(down(gated(gate, up, self.activation)))


def feed_forward(
    config: DecoderConfig,
    traits: Traits,
    dtype: DTypeLike,
    lora: LoraConfig,
    tensor: TensorParallel,
) -> Callable[[jax.Array, TokenTree], tuple[jax.Array, ExpertLoad | None]]:
    """Makes a layer's feed-forward network, "mlp", one or experts."""
    if config.experts is not None:
        return ExpertMLP(config, dtype, tensor, traits.activation, name="mlp")
    whole = MLP(config, dtype, lora, tensor, traits.activation, name="mlp")
    return lambda x, tree: (whole(x), None)


class Block(nn.Module):
    """One layer: attention and feed-forward network, each added to the normed stream's input.

    A family's own layer takes the same fields and arguments.
    """

    config: DecoderConfig
    traits: Traits
    dtype: DTypeLike
    lora: LoraConfig
    tensor: TensorParallel
    attention: Computation

    @nn.compact
    def __call__(
        self, x: jax.Array, rows: RowContext, layer: Layer
    ) -> tuple[jax.Array, ExpertLoad | None]:
        """The layer's output, and what its experts had to do.

        Args:
          x: (batch, length, hidden).
          rows: what all layers see.
          layer: what this one has.
        """
        angles, tree = rows.of(layer)
        kind = (self.config, self.traits, self.dtype, self.lora, self.tensor)
        norm = functools.partial(RMSNorm, self.config.rms_norm_eps, self.traits.norm_offset)
        normed = norm(name="input_layernorm")(x)
        x = x + Attention(*kind, self.attention, name="self_attn")(normed, angles, tree)
        normed = norm(name="post_attention_layernorm")(x)
        added, load = feed_forward(*kind)(normed, tree)
        return x + added, load
