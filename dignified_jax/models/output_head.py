"""Log-probabilities of given tokens from hidden states: output product and softmax as one.

Logits z = h W exist for a chunk of tokens at a time, forward and backward. With
lse = log sum_v exp z_v and g the gradient of log p_t = z_t - lse,

    dz = g (onehot(t) - exp(z - lse))    dh = dz W^T    dW = sum over tokens of h^T dz

so that, besides the arguments, the backward pass needs lse alone. With a vocabulary split over
devices the loops over chunks hold no communication: the parts are joined after them.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, Int

from dignified_jax.models.tensor_parallel import TensorParallel

# Tokens whose logits exist at one time; the rest of the batch waits as hidden states.
TOKENS_PER_CHUNK = 1024


def token_log_probs(
    hidden: Float[ArrayLike, "token hidden"],
    kernel: Float[ArrayLike, "hidden vocab"],
    target: Int[ArrayLike, " token"],
    *,
    dtype: DTypeLike = jnp.float32,
    tensor: TensorParallel = TensorParallel(),  # noqa: B008  (frozen)
) -> Float[Array, " token"]:
    """log softmax(hidden @ kernel)[target].

    The products run in `dtype`; logits, log-sum-exp and the sum over chunks of the gradient of
    `kernel` are float32 (float64 where `dtype` is).

    Args:
      hidden: (token, hidden).
      kernel: (hidden, vocab), or this device's part of the vocabulary.
      target: (token,) int32.
      dtype: of the products.
      tensor: the devices over which the vocabulary is split.

    Returns:
      (token,) float32.
    """
    return _scores(tensor.enter(hidden), kernel, target, dtype, tensor, False)[0]


def token_log_probs_and_entropy(
    hidden: Float[ArrayLike, "token hidden"],
    kernel: Float[ArrayLike, "hidden vocab"],
    target: Int[ArrayLike, " token"],
    *,
    dtype: DTypeLike = jnp.float32,
    tensor: TensorParallel = TensorParallel(),  # noqa: B008  (frozen)
) -> tuple[Float[Array, " token"], Float[Array, " token"]]:
    """Log-probs as `token_log_probs`, and the entropy of softmax(hidden @ kernel) in nats.

    Returns:
      Two (token,) float32. The entropy is for watching: its gradient is 0.
    """
    scores = _scores(tensor.enter(hidden), kernel, target, dtype, tensor, True)
    return scores[0], jax.lax.stop_gradient(scores[1])


_Scores = tuple[jax.Array, jax.Array | None]  # log-probs, and entropies where they are wanted
_Saved = tuple[jax.Array, jax.Array, jax.Array, jax.Array]  # hidden, kernel, target, log-sums


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _scores(
    hidden: jax.Array,
    kernel: jax.Array,
    target: jax.Array,
    dtype: DTypeLike,
    tensor: TensorParallel,
    with_entropy: bool,
) -> _Scores:
    return _scores_forward(hidden, kernel, target, dtype, tensor, with_entropy)[0]


def _scores_forward(
    hidden: jax.Array,
    kernel: jax.Array,
    target: jax.Array,
    dtype: DTypeLike,
    tensor: TensorParallel,
    with_entropy: bool,
) -> tuple[_Scores, _Saved]:
    index, inside = tensor.own(target, kernel.shape[1])
    narrow = kernel.astype(dtype)

    def body(inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        states, at = inputs
        logits = _product("th,hv->tv", states.astype(dtype), narrow)
        log_sum = jax.nn.logsumexp(logits, axis=-1)
        chosen = jnp.take_along_axis(logits, at[:, None], axis=-1)[:, 0]
        if not with_entropy:
            return chosen, log_sum, None
        surprise = log_sum[:, None] - logits
        return chosen, log_sum, jnp.sum(jnp.exp(-surprise) * surprise, axis=-1)

    parts = jax.lax.map(body, (_chunks(hidden), _chunks(index)))
    chosen, part, spread = jax.tree.map(lambda x: x.reshape(-1)[: target.size], parts)
    log_sum = tensor.logsumexp(part[:, None])
    log_probs = tensor.leave(jnp.where(inside, chosen, 0.0)) - log_sum
    entropy = None
    if with_entropy:  # of the parts, by their weights, and of the choice between them
        entropy = tensor.leave(jnp.exp(part - log_sum) * (spread + log_sum - part))
    return (log_probs, entropy), (hidden, kernel, target, log_sum)


def _scores_backward(
    dtype: DTypeLike, tensor: TensorParallel, with_entropy: bool, saved: _Saved, cotangents: _Scores
) -> tuple[jax.Array, jax.Array, None]:
    del with_entropy
    hidden, kernel, target, log_sum = saved
    width, vocab = kernel.shape
    index, inside = tensor.own(target, vocab)
    index = jnp.where(inside, index, vocab)  # another device's token: no entry of one_hot
    narrow = kernel.astype(dtype)

    def body(d_kernel: jax.Array, inputs: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        states, at, log_sum, gradient = inputs
        states = states.astype(dtype)
        softmax = jnp.exp(_product("th,hv->tv", states, narrow) - log_sum[:, None])
        one_hot = jax.nn.one_hot(at, vocab, dtype=softmax.dtype)
        d_logits = (gradient[:, None] * (one_hot - softmax)).astype(dtype)
        d_states = _product("tv,hv->th", d_logits, narrow).astype(hidden.dtype)
        return d_kernel + _product("th,tv->hv", states, d_logits), d_states

    inputs = tuple(map(_chunks, (hidden, index, log_sum, cotangents[0])))
    d_kernel, d_hidden = jax.lax.scan(body, jnp.zeros((width, vocab), log_sum.dtype), inputs)
    d_hidden = d_hidden.reshape(-1, width)[: target.size]
    return d_hidden, d_kernel.astype(kernel.dtype), None


_scores.defvjp(_scores_forward, _scores_backward)


def _product(axes: str, x: jax.Array, y: jax.Array) -> jax.Array:
    """Matrix product, summed in float32 or wider."""
    return jnp.einsum(axes, x, y, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))


def _chunks(x: jax.Array) -> jax.Array:
    """(token, ...) to (chunk, tokens of a chunk, ...), as equal as can be, zeros at the end."""
    count = x.shape[0]
    chunks = -(-count // TOKENS_PER_CHUNK)
    size = -(-count // chunks)
    padded = jnp.pad(x, [(0, chunks * size - count)] + [(0, 0)] * (x.ndim - 1))
    return padded.reshape(chunks, size, *x.shape[1:])
