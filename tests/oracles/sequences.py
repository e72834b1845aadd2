"""Random tokenised examples, and log-probabilities of responses as separate plain sequences."""

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.data.tokenize import TokenizedExample


def random_examples(count, seed, *, vocab=131, prompt=9, response=7, present=0.7):
    """Examples of random ids: 1..`prompt` prompt tokens, golden, each reject with `present`."""
    rng = np.random.default_rng(seed)

    def ids(most):
        return rng.integers(1, vocab, rng.integers(1, most + 1)).astype(np.int32)

    return [
        TokenizedExample(
            ids(prompt), tuple(ids(response) if r == 0 or rng.random() < present else None
                               for r in range(5)), index
        )
        for index in range(count)
    ]


def separate(examples):
    """One right-padded row per response: tokens, (row, length - 1) target mask, place in (n, 5).

    Causal attention without packing: padding on the right is seen by no response token.
    """
    places, rows = [], []
    for number, example in enumerate(examples):
        for r, response in enumerate(example.responses):
            if response is not None:
                places.append((number, r))
                rows.append((example.prompt, response))
    length = max(len(p) + len(r) for p, r in rows)
    tokens = np.zeros((len(rows), length), np.int32)
    mask = np.zeros((len(rows), length - 1), bool)
    for row, (prompt, response) in enumerate(rows):
        end = len(prompt) + len(response)
        tokens[row, :end] = np.concatenate([prompt, response])
        mask[row, len(prompt) - 1 : end - 1] = True
    return tokens, mask, places


def log_probs(model, params, examples):
    """(example, 5) summed log-probs of the responses, from the model's own plain forward pass."""
    tokens, mask, places = separate(examples)
    logits = model.apply({"params": params}, tokens)
    predicted = jax.nn.log_softmax(logits[:, :-1], axis=-1)
    chosen = jnp.take_along_axis(predicted, tokens[:, 1:, None], axis=-1)[..., 0]
    sums = jnp.where(mask, chosen, 0.0).sum(axis=1)
    return jnp.zeros((len(examples), 5)).at[tuple(np.transpose(places))].set(sums)


def response_mask(examples):
    """(example, 5) bool."""
    return np.array([[r is not None for r in e.responses] for e in examples])
