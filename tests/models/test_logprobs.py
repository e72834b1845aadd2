"""Packed log-probabilities against separate sequences: transformers, and our own plain model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from dignified_jax.data import BatchStream
from dignified_jax.models import logprobs
from tests.oracles import hf_models, sequences

pytestmark = pytest.mark.wiring

response_log_probs = jax.jit(logprobs.response_log_probs, static_argnums=0)
EXAMPLES = sequences.random_examples(10, 4, prompt=15, response=12)


def pack(examples=EXAMPLES, row_length=96, rows_multiple=1):
    stream = BatchStream(
        examples,
        batch_size=len(examples),
        row_length=row_length,
        rows_multiple=rows_multiple,
        shuffle=False,
    )
    return stream.batch(0)


def take_rows(batch, rows):
    """The same batch with some of its rows; the example fields stay whole."""
    names = ("tokens", "positions", "visible_until", "segments", "source", "target", "response")
    return dataclasses.replace(batch, **{name: getattr(batch, name)[rows] for name in names})


def transformers_log_probs(reference, examples):
    """(example, 5) from transformers' logits of every response in a row of its own."""
    tokens, _ = sequences.separate(examples)
    logits = torch.as_tensor(hf_models.logits(reference, tokens))
    predicted = logits.double().log_softmax(dim=-1).reshape(len(examples), 5, *logits.shape[1:])
    sums = np.zeros((len(examples), 5))
    for number, example in enumerate(examples):
        for r, response in enumerate(example.responses):
            before = len(example.prompt) - 1
            for n, token in enumerate([] if response is None else response.tolist()):
                sums[number, r] += predicted[number, r, before + n, token].item()
    return sums


@pytest.fixture(scope="module")
def qwen3(loaded):
    """The model as transformers and as we hold it."""
    one = loaded("qwen3", 5.0)
    return one.reference, one.model, one.params


@pytest.mark.parametrize(
    ("family", "row_length"), [("llama2", 96), ("llama3.2", 96), ("qwen3", 96), ("qwen3", 256)]
)
def test_packed_rows_equal_transformers_on_separate_sequences(family, row_length, loaded):
    """1e-5 relative, in float32; 256 tokens is one row of nearly everything."""
    one = loaded(family, 5.0)
    got = response_log_probs(one.model, one.params, pack(row_length=row_length))
    expected = transformers_log_probs(one.reference, EXAMPLES)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(got) != 0, sequences.response_mask(EXAMPLES))


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_gradients_equal_those_of_separate_sequences(backend, qwen3, monkeypatch):
    """1e-5 relative to the largest entry of each parameter's gradient, in float32.

    Both on the attention that CPUs use and on that of other backends.
    """
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    _, model, params = qwen3
    weights = np.random.default_rng(1).normal(size=(len(EXAMPLES), 5)).astype(np.float32)
    batch = pack()

    def packed(params):
        # Not the jitted one, which may have been traced for the other backend.
        return jnp.sum(weights * logprobs.response_log_probs(model, params, batch))

    def separate(params):
        return jnp.sum(weights * sequences.log_probs(model, params, EXAMPLES))

    got, want = jax.jit(jax.grad(packed))(params), jax.jit(jax.grad(separate))(params)
    for (path, g), w in zip(jax.tree.leaves_with_path(got), jax.tree.leaves(want), strict=True):
        assert np.abs(w).max() > 0.1, path
        np.testing.assert_allclose(g, w, atol=1e-5 * np.abs(w).max(), err_msg=str(path))


def test_the_first_token_is_predicted_from_the_last_prompt_token(qwen3):
    """A plain shift predicts it from the end of the response before: another number."""
    reference, model, params = qwen3
    batch = pack()
    expected = transformers_log_probs(reference, EXAMPLES)
    shifted = np.zeros_like(batch.source)
    for row, laid in enumerate(batch.segments):
        places = [np.arange(start, start + size) for _, prompt, start, size in laid if prompt]
        shifted[row, : sum(map(len, places))] = np.concatenate(places) - 1
    assert (shifted != batch.source).sum() == batch.response_mask[:, 1:].sum()
    wrong = response_log_probs(model, params, dataclasses.replace(batch, source=shifted))
    exists = batch.response_mask
    np.testing.assert_allclose(wrong[:, 0], expected[:, 0], rtol=1e-5)  # golden follows the prompt
    others = exists & (np.arange(5) > 0)
    assert (np.abs(np.asarray(wrong) - expected)[others] > 1e-3).all()

    # And the right number depends on the prompt's last token, not on the golden's.
    number = 3
    changed = list(EXAMPLES)
    golden = EXAMPLES[number].responses[0].copy()
    golden[-1] = (golden[-1] + 1) % 131
    changed[number] = dataclasses.replace(
        EXAMPLES[number], responses=(golden, *EXAMPLES[number].responses[1:])
    )
    before = response_log_probs(model, params, batch)[number]
    after = response_log_probs(model, params, pack(changed))[number]
    np.testing.assert_array_equal(before[1:], after[1:])
    assert before[0] != after[0]


def test_parts_of_the_rows_add_up(qwen3):
    """Each row on its own scores exactly the responses that it holds, the others 0."""
    _, model, params = qwen3
    rows = len(pack(row_length=64).tokens)
    batch = pack(row_length=64, rows_multiple=rows + 1)
    assert not batch.tokens[-1].any()  # an empty row at the end, which scores nothing
    whole = response_log_probs(model, params, batch)
    held, sums = [], []
    for row in range(len(batch.tokens)):
        part = take_rows(batch, slice(row, row + 1))
        scored = np.asarray(response_log_probs(model, params, part))
        local = np.zeros(scored.size + 1, bool)
        local[np.asarray(part.response).ravel()] = True
        local = local[:-1].reshape(scored.shape)
        assert scored.shape == batch.response_mask.shape
        np.testing.assert_allclose(scored[local], np.asarray(whole)[local], rtol=1e-5)
        np.testing.assert_array_equal(scored[~local], 0)
        held.append(local)
        sums.append(scored)
    np.testing.assert_array_equal(np.sum(held, axis=0), batch.response_mask)
    assert [bool(local.any()) for local in held] == [True] * rows + [False]
    np.testing.assert_allclose(np.sum(sums, axis=0), whole, rtol=1e-5)


def test_empty_rows_and_examples_change_neither_values_nor_gradients(qwen3):
    """A batch with empty rows and examples, masked, equals the batch without them; 1e-5."""
    _, model, params = qwen3
    empty = 2
    sliced = pack()
    rows = len(sliced.tokens)
    padded = BatchStream(
        EXAMPLES,
        batch_size=len(EXAMPLES) + empty,
        row_length=96,
        rows_multiple=rows + empty,
        shuffle=False,
    ).batch(0)
    assert len(padded.tokens) == rows + empty

    def total(params, batch):
        scores = response_log_probs(model, params, batch)
        return jnp.sum(jnp.where(batch.response_mask, jnp.sin(scores), 0)), scores

    grad = jax.jit(jax.grad(total, has_aux=True))
    got, got_scores = grad(params, padded)
    want, want_scores = grad(params, sliced)
    np.testing.assert_allclose(got_scores[: len(EXAMPLES)], want_scores, rtol=1e-5)
    np.testing.assert_array_equal(got_scores[len(EXAMPLES) :], 0)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g, w, atol=1e-5 * np.abs(w).max())


def test_entropies_equal_those_of_separate_sequences(qwen3):
    """Summed over each response's predictions, from transformers' logits; 1e-5 relative."""
    reference, model, params = qwen3
    batch = pack()
    tokens, mask = sequences.separate(EXAMPLES)
    logits = torch.as_tensor(hf_models.logits(reference, tokens)).double()
    entropy = torch.distributions.Categorical(logits=logits).entropy().numpy()
    expected = np.where(mask[:, 1:], entropy[:, :-1], 0.0).sum(axis=1).reshape(-1, 5)
    score = jax.jit(logprobs.response_log_probs_and_entropy, static_argnums=0)
    log_probs, got = score(model, params, batch)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    np.testing.assert_allclose(log_probs, response_log_probs(model, params, batch), rtol=1e-6)
