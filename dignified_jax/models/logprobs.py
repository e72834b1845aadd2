"""Log-probabilities of whole responses, from a packed batch and the decoder's hidden states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from dignified_jax.models.attention.token_tree import TokenTree
from dignified_jax.models.decoder import Decoder, output_kernel
from dignified_jax.models.experts import ExpertLoad
from dignified_jax.models.lora import LoraParams, variables
from dignified_jax.models.output_head import token_log_probs, token_log_probs_and_entropy


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


def response_log_probs(
    model: Decoder, params: dict[str, Any] | LoraParams, batch: Packed
) -> jax.Array:
    """Summed log-probability of every response in a packed batch.

    Args:
      model: the decoder.
      params: its parameter tree, or that of a base and of LoRA.
      batch: packed rows; `batch.source` holds the index in the row of the hidden state that
        predicts each response token (for a response's first token: the last prompt token).

    Returns:
      (example, 5) float32: golden, A, T, E, C. Zero where no token of the response is in the
      batch's rows (`batch.response_mask` says which responses exist).
    """
    return response_log_probs_and_load(model, params, batch)[0]


def response_log_probs_and_load(
    model: Decoder, params: dict[str, Any] | LoraParams, batch: Packed
) -> tuple[jax.Array, ExpertLoad | None]:
    """Log-probs as `response_log_probs`, and what the experts had to do, if there are any."""
    log_probs, load = _score_tokens(token_log_probs, model, params, batch)
    return sum_by_response(log_probs, batch), load


def response_log_probs_and_entropy(
    model: Decoder, params: dict[str, Any] | LoraParams, batch: Packed
) -> tuple[jax.Array, jax.Array]:
    """Log-probs as `response_log_probs`, and the predictions' entropies summed over each response.

    Returns:
      Two (example, 5) float32, nats; over `batch.response_length` they are means over tokens. The
      entropy has no gradient.
    """
    (log_probs, entropy), _ = _score_tokens(token_log_probs_and_entropy, model, params, batch)
    return sum_by_response(log_probs, batch), sum_by_response(entropy, batch)


def _score_tokens(
    score: Callable[..., Any], model: Decoder, params: dict[str, Any] | LoraParams, batch: Packed
) -> tuple[Any, ExpertLoad | None]:
    """`score`, a function of `output_head`, of every response token (row * slot,); and the load."""
    weights = variables(params)
    hidden, load = model.apply(
        weights,
        batch.tokens,
        batch.positions,
        token_tree(batch),
        method=Decoder.hidden_states_and_load,
    )
    states = jnp.take_along_axis(hidden, batch.source[..., None], axis=1)
    scores = score(
        states.reshape(-1, states.shape[-1]),
        output_kernel(model.config, weights["params"]),
        batch.target.reshape(-1),
        dtype=model.dtype,
        tensor=model.tensor,
    )
    return scores, load


def token_tree(batch: Packed) -> TokenTree:
    """The attention mask of a packed batch."""
    return TokenTree(batch.visible_until, batch.segments, batch.prompt_block, batch.segment_block)


def sum_by_response(values: jax.Array, batch: Packed) -> jax.Array:
    """Sums (row * slot,) token values into (example, 5); unused slots fall past the end."""
    examples, responses = batch.response_mask.shape
    segments = examples * responses
    sums = jax.ops.segment_sum(values, batch.response.reshape(-1), num_segments=segments + 1)
    return sums[:segments].reshape(examples, responses)
