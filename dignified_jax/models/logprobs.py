"""Log-probabilities of whole responses, from a packed batch and the decoder's hidden states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from dignified_jax.models.attention.token_tree import TokenTree
from dignified_jax.models.decoder import Decoder, Params, output_kernel
from dignified_jax.models.experts import ExpertLoad
from dignified_jax.models.lora import LoraParams, variables
from dignified_jax.models.output_head import token_log_probs, token_log_probs_and_entropy
from dignified_jax.models.residual import Edits

Scores = TypeVar("Scores")


@runtime_checkable
class Packed(Protocol):
    """The fields of a packed batch that are read here."""

    tokens: Int[Array, "row length"]
    positions: Int[Array, "row length"]
    visible_until: Int[Array, "row length"]
    segments: Int[Array, "row segment 4"]
    source: Int[Array, "row slot"]
    target: Int[Array, "row slot"]
    response: Int[Array, "row slot"]
    response_mask: Bool[Array, "example response"]
    prompt_block: int
    segment_block: int


def response_log_probs(
    model: Decoder,
    params: Params | LoraParams,
    batch: Packed,
    edits: Edits | None = None,
) -> Float[Array, "example response"]:
    """Summed log-probability of every response in a packed batch.

    Args:
      model: the decoder.
      params: its parameter tree, or that of a base and of LoRA.
      batch: packed rows; `batch.source` holds the index in the row of the hidden state that
        predicts each response token (for a response's first token: the last prompt token).
      edits: of the residual stream, see `models.residual`.

    Returns:
      (example, 1 + K) float32: golden, then each reject. Zero where no token of it is in the
      batch's rows (`batch.response_mask` says which responses exist).
    """
    return response_log_probs_and_load(model, params, batch, edits)[0]


def response_log_probs_and_load(
    model: Decoder,
    params: Params | LoraParams,
    batch: Packed,
    edits: Edits | None = None,
) -> tuple[Float[Array, "example response"], ExpertLoad | None]:
    """Log-probs as `response_log_probs`, and what the experts had to do, if there are any."""
    log_probs, load = _score_tokens(token_log_probs, model, params, batch, edits)
    return sum_by_response(log_probs, batch), load


def response_log_probs_and_entropy(
    model: Decoder, params: Params | LoraParams, batch: Packed
) -> tuple[Float[Array, "example response"], Float[Array, "example response"]]:
    """Log-probs as `response_log_probs`, and the predictions' entropies summed over each response.

    Returns:
      Two (example, 1 + K) float32, nats; over `batch.response_length` they are means over tokens.
      The entropy has no gradient.
    """
    (log_probs, entropy), _ = _score_tokens(token_log_probs_and_entropy, model, params, batch)
    return sum_by_response(log_probs, batch), sum_by_response(entropy, batch)


def _score_tokens(
    score: Callable[..., Scores],
    model: Decoder,
    params: Params | LoraParams,
    batch: Packed,
    edits: Edits | None = None,
) -> tuple[Scores, ExpertLoad | None]:
    """`score`, a function of `output_head`, of every response token (row * slot,); and the load."""
    weights = variables(params)
    hidden, load = model.apply(
        weights,
        batch.tokens,
        batch.positions,
        token_tree(batch),
        edits,
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


def last_states(
    model: Decoder, params: Params | LoraParams, batch: Packed
) -> tuple[Float[Array, "row length width"], Float[Array, "width vocab"]]:
    """Returns the hidden states that the output head takes, and its kernel.

    Args:
      model, params: as `response_log_probs` takes them.
      batch: packed rows.
    """
    weights = variables(params)
    hidden = model.apply(
        weights, batch.tokens, batch.positions, token_tree(batch), method=Decoder.hidden_states
    )
    return hidden, output_kernel(model.config, weights["params"])


def token_tree(batch: Packed) -> TokenTree:
    """The attention mask of a packed batch."""
    return TokenTree(batch.visible_until, batch.segments, batch.prompt_block, batch.segment_block)


def sum_by_response(
    values: Shaped[Array, " token"], batch: Packed
) -> Shaped[Array, "example response"]:
    """Sums (row * slot,) token values into (example, 1 + K); unused slots fall past the end."""
    examples, responses = batch.response_mask.shape
    segments = examples * responses
    sums = jax.ops.segment_sum(values, batch.response.reshape(-1), num_segments=segments + 1)
    return sums[:segments].reshape(examples, responses)
