"""How far a policy has moved from a reference: KL over the whole vocabulary, token by token."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float

from dignified_jax.models.decoder import Decoder, Params, output_kernel
from dignified_jax.models.logprobs import Packed, sum_by_response, token_tree
from dignified_jax.models.lora import LoraConfig, LoraParams, variables
from dignified_jax.models.output_head import TOKENS_PER_CHUNK
from dignified_jax.models.tensor_parallel import TensorParallel


def token_kl(
    hidden: tuple[Float[ArrayLike, "token hidden"], Float[ArrayLike, "token hidden"]],
    kernel: tuple[Float[ArrayLike, "hidden vocab"], Float[ArrayLike, "hidden vocab"]],
    *,
    dtype: DTypeLike = jnp.float32,
    tensor: TensorParallel = TensorParallel(),  # noqa: B008  (frozen)
) -> Float[Array, " token"]:
    """KL(p || q) = sum_v p_v (log p_v - log q_v) of two models' next-token distributions.

    Exact over the vocabulary, a chunk of tokens at a time. The products run in `dtype`, the rest
    in float32.

    Args:
      hidden: (token, hidden) of the policy p and of the reference q.
      kernel: (hidden, vocab) of each, or this device's part of the vocabulary.
      dtype: of the products.
      tensor: the devices over which the vocabulary is split.

    Returns:
      (token,) float32, in nats.
    """
    count = hidden[0].shape[0]
    chunk = min(TOKENS_PER_CHUNK, count)
    chunks = -(-count // chunk)
    stacked = jnp.stack(hidden, axis=1)  # (token, 2, hidden)
    stacked = jnp.pad(stacked, ((0, chunks * chunk - count), (0, 0), (0, 0)))

    def log_softmax(states: jax.Array, kernel: jax.Array) -> jax.Array:
        logits = jnp.dot(
            states.astype(dtype), kernel.astype(dtype), preferred_element_type=jnp.float32
        )
        return logits - tensor.logsumexp(logits)[..., None]

    def body(states: jax.Array) -> jax.Array:
        p, q = (log_softmax(states[:, model], kernel[model]) for model in (0, 1))
        return tensor.leave(jnp.sum(jnp.exp(p) * (p - q), axis=-1))

    divergence = jax.lax.map(body, stacked.reshape(chunks, chunk, 2, -1))
    return divergence.reshape(-1)[:count]


def response_kl(
    model: Decoder, policy: Params | LoraParams, reference: Params | LoraParams, batch: Packed
) -> Float[Array, "example response"]:
    """Token-level KL(policy || reference), summed over every response of a packed batch.

    Args:
      model: the decoder of both.
      policy, reference: parameter trees, or those of a base and of LoRA.
      batch: packed rows, as in `logprobs.response_log_probs`.

    Returns:
      (example, 1 + K) float32, in nats: golden, then each reject. Zero where no token of it is in
      the batch's rows.
    """

    def states(params: Params | LoraParams) -> jax.Array:
        own = model if isinstance(params, LoraParams) else model.clone(lora=LoraConfig())
        hidden = own.apply(
            variables(params),
            batch.tokens,
            batch.positions,
            token_tree(batch),
            method=Decoder.hidden_states,
        )
        at = jnp.take_along_axis(hidden, batch.source[..., None], axis=1)
        return at.reshape(-1, at.shape[-1])

    both = (policy, reference)
    divergence = token_kl(
        tuple(states(params) for params in both),
        tuple(output_kernel(model.config, variables(params)["params"]) for params in both),
        dtype=model.dtype,
        tensor=model.tensor,
    )
    return sum_by_response(divergence, batch)
