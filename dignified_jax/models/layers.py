"""The parts of a decoder layer, and Llama's layer, from which the families differ by `Traits`.

Parameter names follow Hugging Face's; kernels are stored (in, out), the transpose of theirs.
"""

from __future__ import annotations

import dataclasses
import functools

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
from dignified_jax.models.lora import LoraConfig, LoraDense
from dignified_jax.models.rotary import rotary_magnitude, rotate
from dignified_jax.models.tensor_parallel import TensorParallel


@dataclasses.dataclass(frozen=True)
class Traits:
    """How a family's layer differs from Llama's.

    Attributes:
      qk_norm: queries and keys are RMS-normalised per head.
      qkv_bias: the products that make queries, keys and values have a bias.
    """

    qk_norm: bool = False
    qkv_bias: bool = False


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
            query = RMSNorm(config.rms_norm_eps, name="q_norm")(query)
            key = RMSNorm(config.rms_norm_eps, name="k_norm")(key)
        magnitude = rotary_magnitude(config.rope_scaling)
        query, key = rotate(query, angles, magnitude), rotate(key, angles, magnitude)
        mixed = kv_cache.attend(self, query, key, value, tree, self.attention)
        merged = rearrange(mixed, "batch length heads width -> batch length (heads width)")
        return self.tensor.leave(dense(config, config.hidden_size, *kind, "o_proj")(merged))


class MLP(nn.Module):
    config: DecoderConfig
    dtype: DTypeLike
    lora: LoraConfig
    tensor: TensorParallel

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x, kind = self.tensor.enter(x), (self.dtype, self.lora)
        gate = dense(self.config, self.config.intermediate_size, *kind, "gate_proj")(x)
        up = dense(self.config, self.config.intermediate_size, *kind, "up_proj")(x)
        down = dense(self.config, self.config.hidden_size, *kind, "down_proj")
        return self.tensor.leave(down(_gated(gate, up)))


# The backward pass computes it again from its arguments, which are kept in any case, rather than
# keep three more arrays of the same size.
@functools.partial(jax.checkpoint, prevent_cse=False)
def _gated(gate: jax.Array, up: jax.Array) -> jax.Array:
    """The gated linear unit of SwiGLU."""
    return nn.silu(gate) * up


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
        self, x: jax.Array, angles: jax.Array, tree: TokenTree, rotates: jax.Array | None
    ) -> tuple[jax.Array, None]:
        """The layer's output.

        Args:
          x: (batch, length, hidden).
          angles: (batch, length, head_dim / 2) float32, of the rotary embeddings.
          tree: who sees whom.
          rotates: () float32, 0 in a layer without rotary embeddings; None where all have them.
        """
        epsilon = self.config.rms_norm_eps
        if rotates is not None:
            angles = angles * rotates
        kind = (self.dtype, self.lora, self.tensor)
        normed = RMSNorm(epsilon, name="input_layernorm")(x)
        mix = Attention(self.config, self.traits, *kind, self.attention, name="self_attn")
        x = x + mix(normed, angles, tree)
        normed = RMSNorm(epsilon, name="post_attention_layernorm")(x)
        return x + MLP(self.config, *kind, name="mlp")(normed), None
