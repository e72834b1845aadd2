"""Random tokenised examples, and log-probabilities of responses as separate plain sequences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.data.examples import TokenizedExample


def random_examples(count, seed, *, vocab=131, prompt=9, response=7, present=0.7, dimensions=4):
    """Examples of random ids: golden always, each reject with probability `present`."""
    rng = np.random.default_rng(seed)

    def ids(most):
        return rng.integers(1, vocab, rng.integers(1, most + 1)).astype(np.int32)

    examples = []
    for index in range(count):
        exists = [True, *(rng.random(dimensions) < present)]
        responses = tuple(ids(response) if there else None for there in exists)
        examples.append(TokenizedExample(ids(prompt), responses, index))
    return examples


def separate(examples, length=None):
    """Every response after its prompt in a row of its own, padded with 0 on the right.

    Returns:
      tokens ((1 + K) * example, length) and mask of the same shape: True on the response's tokens,
      nowhere in the rows of responses that do not exist.
    """
    rows = [(e.prompt, response) for e in examples for response in e.responses]
    length = length or max(len(p) + len(r) for p, r in rows if r is not None)
    tokens = np.zeros((len(rows), length), np.int32)
    mask = np.zeros((len(rows), length), bool)
    for row, (prompt, response) in enumerate(rows):
        if response is not None:
            end = len(prompt) + len(response)
            tokens[row, :end] = np.concatenate([prompt, response])
            mask[row, len(prompt) : end] = True
    return tokens, mask


def sum_log_probs(logits, tokens, mask, responses=5):
    """(example, responses) from plain causal logits (row, length, vocab) of `separate` rows."""
    predicted = jax.nn.log_softmax(logits[:, :-1], axis=-1)
    chosen = jnp.take_along_axis(predicted, tokens[:, 1:, None], axis=-1)[..., 0]
    return jnp.where(mask[:, 1:], chosen, 0.0).sum(axis=1).reshape(-1, responses)


def log_probs(model, params, examples):
    """(example, 1 + K) summed log-probs of responses from the model's own plain forward pass."""
    return _log_probs(model, params, *separate(examples), len(examples[0].responses))


@functools.partial(jax.jit, static_argnums=(0, 4))
def _log_probs(model, params, tokens, mask, responses):
    return sum_log_probs(model.apply({"params": params}, tokens), tokens, mask, responses)


def response_mask(examples):
    """(example, 1 + K) bool."""
    return np.array([[r is not None for r in e.responses] for e in examples])
