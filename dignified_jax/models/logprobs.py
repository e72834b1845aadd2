"""Log-probabilities of whole responses, from a packed batch and the decoder's hidden states."""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp

from dignified_jax.models.attention import TokenTree
from dignified_jax.models.decoder import Decoder, output_kernel
from dignified_jax.models.tensor_parallel import TensorParallel

# Tokens whose logits exist at one time; the rest of the batch waits as hidden states.
TOKENS_PER_CHUNK = 1024


class Packed(Protocol):
    """The fields of a packed batch that are read here; axes are (row, ...) and (example, 5)."""

    tokens: jax.Array
    positions: jax.Array
    visible_until: jax.Array
    segments: jax.Array
    source: jax.Array
    target: jax.Array
    response: jax.Array
    response_mask: jax.Array
    prompt_block: int
    segment_block: int


def token_log_probs(
    hidden: jax.Array,
    kernel: jax.Array,
    target: jax.Array,
    *,
    dtype: Any = jnp.float32,
    tensor: TensorParallel = TensorParallel(),  # noqa: B008  (frozen)
) -> jax.Array:
    """log softmax(hidden @ kernel)[target], a chunk of tokens at a time.

    Logits of a chunk are recomputed in the backward pass, so memory is flat in tokens x vocabulary.
    The products run in `dtype`; logits, log-sum-exp and the gradient of `kernel` are float32.

    Args:
      hidden: (token, hidden).
      kernel: (hidden, vocab), or this device's part of the vocabulary.
      target: (token,) int32.
      dtype: of the products.
      tensor: the devices over which the vocabulary is split.

    Returns:
      (token,) float32.
    """
    hidden = tensor.enter(hidden)
    count = hidden.shape[0]
    chunk = min(TOKENS_PER_CHUNK, count)
    chunks = -(-count // chunk)
    padding = chunks * chunk - count
    hidden = jnp.pad(hidden, ((0, padding), (0, 0))).reshape(chunks, chunk, -1)
    target = jnp.pad(target, (0, padding)).reshape(chunks, chunk)

    @jax.checkpoint
    def body(carry: None, inputs: tuple[jax.Array, jax.Array]) -> tuple[None, jax.Array]:
        states, targets = inputs
        logits = jnp.dot(
            states.astype(dtype), kernel.astype(dtype), preferred_element_type=jnp.float32
        )
        return carry, tensor.take(logits, targets) - tensor.logsumexp(logits)

    _, log_probs = jax.lax.scan(body, None, (hidden, target))
    return log_probs.reshape(-1)[:count]


def response_log_probs(model: Decoder, params: dict[str, Any], batch: Packed) -> jax.Array:
    """Summed log-probability of every response in a packed batch.

    Args:
      model: the decoder.
      params: its parameter tree.
      batch: packed rows; `batch.source` holds the index in the row of the hidden state that
        predicts each response token (for a response's first token: the last prompt token).

    Returns:
      (example, 5) float32: golden, A, T, E, C. Zero where no token of the response is in the
      batch's rows (`batch.response_mask` says which responses exist).
    """
    hidden = model.apply(
        {"params": params},
        batch.tokens,
        batch.positions,
        token_tree(batch),
        method=Decoder.hidden_states,
    )
    states = jnp.take_along_axis(hidden, batch.source[..., None], axis=1)
    log_probs = token_log_probs(
        states.reshape(-1, states.shape[-1]),
        output_kernel(model.config, params),
        batch.target.reshape(-1),
        dtype=model.dtype,
        tensor=model.tensor,
    )
    return sum_by_response(log_probs, batch)


def token_tree(batch: Packed) -> TokenTree:
    """The attention mask of a packed batch."""
    return TokenTree(batch.visible_until, batch.segments, batch.prompt_block, batch.segment_block)


def sum_by_response(values: jax.Array, batch: Packed) -> jax.Array:
    """Sums (row * slot,) token values into (example, 5); unused slots fall past the end."""
    examples, responses = batch.response_mask.shape
    segments = examples * responses
    sums = jax.ops.segment_sum(values, batch.response.reshape(-1), num_segments=segments + 1)
    return sums[:segments].reshape(examples, responses)
