"""Captures and edits of the residual stream against transformers' forward hooks."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from dignified_jax.models import hf, logprobs, residual
from dignified_jax.models.attention.token_tree import TokenTree
from dignified_jax.models.decoder import Decoder
from dignified_jax.models.residual import Cap, Capture, make_edits
from tests.models.test_logprobs import EXAMPLES, pack
from tests.oracles import hf_models, sequences, torch_hooks

pytestmark = pytest.mark.wiring

LENGTHS, LENGTH = (9, 6), 9
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(1, 131, (2, LENGTH))
VECTORS = RNG.normal(size=(4, 48)).astype(np.float32)
ADDED = {1: 3 * VECTORS[0]}
CAPS = [Cap(0, VECTORS[1], high=-0.5), Cap(2, VECTORS[2], -1.0, 1.0), Cap(2, VECTORS[3], low=2.0)]
FAST = ("qwen3",)


def padded(side):
    """(tokens, mask of tokens, tree) of two prompts of unequal length."""
    places = np.arange(LENGTH)
    lengths = np.array(LENGTHS)[:, None]
    mask = places < lengths if side == "right" else places >= LENGTH - lengths
    until = np.where(mask, LENGTH, places + 1).astype(np.int32)  # padding is seen by itself alone
    return np.where(mask, TOKENS, 0), mask, until


@functools.partial(jax.jit, static_argnums=0)
def stream(model, params, tokens, until, edits):
    tree = TokenTree(until)
    if model.config.sliding_window:
        tree = dataclasses.replace(tree, positions=jnp.broadcast_to(jnp.arange(LENGTH), (2, 9)))
    method = Decoder.hidden_states_and_stream
    return model.apply({"params": params}, tokens, None, tree, edits, method=method)


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in hf_models.FAMILIES
    ],
)
def test_captures_and_edits_equal_forward_hooks(family, tmp_path):
    """1e-5 of the largest number, with padding on either side, as it is and edited."""
    reference = hf_models.build(family, scale=3.0)
    reference.save_pretrained(tmp_path)
    model, params = hf.load(tmp_path)
    none = make_edits(model.config, {0: np.zeros(48)}, [Cap(n, VECTORS[0]) for n in (0, 2, 2)])
    edits = make_edits(model.config, ADDED, CAPS)
    seen = {}
    for name, given, edit in (
        ("plain", none, None),
        ("edited", edits, torch_hooks.make_edit(ADDED, CAPS)),
    ):
        for side in ("right", "left"):
            tokens, mask, until = padded(side)
            hidden, got = stream(model, params, tokens, until, given)
            with torch_hooks.hooked(reference, edit) as want:
                last = reference.model(torch.tensor(tokens), attention_mask=torch.tensor(mask))
            for layer in range(3):
                expected = want[layer].numpy()[mask]
                error = np.abs(np.asarray(got[layer])[mask] - expected).max()
                assert error <= 1e-5 * np.abs(expected).max(), (name, side, layer)
            expected = last.last_hidden_state.numpy()[mask]
            np.testing.assert_allclose(
                np.asarray(hidden)[mask], expected, atol=1e-5 * abs(expected).max()
            )
            seen[name] = np.asarray(got)
    assert np.abs(seen["edited"] - seen["plain"]).max() > 1


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    directory = tmp_path_factory.mktemp("llama")
    hf_models.build("llama3", scale=3.0).save_pretrained(directory)
    return hf.load(directory)


def without_hook(block):
    """What `residual.hooked` makes, of a layer that knows no hook."""

    class Plain(block):
        def __call__(self, x, rows, layer, hook, edits):
            x, load = super().__call__(x, rows, layer)
            return x, (load, None)

    return Plain


def test_without_edits_the_program_is_that_of_a_decoder_without_the_hook(llama, monkeypatch):
    model, params = llama

    def program():
        def total(p):
            return logprobs.response_log_probs(model, p, pack()).sum()

        return str(jax.make_jaxpr(jax.grad(total))(params))

    hooked = program()
    monkeypatch.setattr(residual, "hooked", without_hook)
    assert program() == hooked
    monkeypatch.undo()
    edits = make_edits(model.config, ADDED)
    total = lambda p: logprobs.response_log_probs(model, p, pack(), edits).sum()  # noqa: E731
    assert str(jax.make_jaxpr(jax.grad(total))(params)) != hooked


def test_edits_of_packed_rows_are_those_of_separate_sequences(llama):
    """1e-5 relative, log-probs of responses."""
    model, params = llama
    edits = make_edits(model.config, ADDED, CAPS)
    got = jax.jit(lambda p, e: logprobs.response_log_probs(model, p, pack(), e))(params, edits)
    tokens, mask = sequences.separate(EXAMPLES)
    logits = jax.jit(lambda p, e: model.apply({"params": p}, tokens, edits=e))(params, edits)
    want = sequences.sum_log_probs(logits, tokens, mask)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_weights_read_single_states_and_means(llama):
    model, params = llama
    method = Decoder.hidden_states_and_stream
    apply = jax.jit(
        lambda capture: model.apply({"params": params}, TOKENS, capture=capture, method=method)[1]
    )
    whole = np.asarray(apply(Capture()))
    weights = np.zeros((2, 2, LENGTH), np.float32)
    weights[0, 0, 3], weights[1, 0, 5], weights[:, 1, 2:6] = 1, 1, 0.25
    read = np.asarray(apply(Capture(jnp.asarray(weights))))
    assert whole.shape == (3, 2, LENGTH, 48) and read.shape == (3, 2, 2, 48)
    np.testing.assert_array_equal(read[:, 0, 0], whole[:, 0, 3])
    np.testing.assert_array_equal(read[:, 1, 0], whole[:, 1, 5])
    np.testing.assert_allclose(read[:, :, 1], whole[:, :, 2:6].mean(2), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_in_bfloat16_edits_and_captures_are_those_of_float32_but_for_rounding(llama):
    """3% of the largest; the edits move it by more than ten times that. A cap holds to 1%."""
    model, params = llama
    edits = make_edits(model.config, ADDED, CAPS)
    none = make_edits(model.config, {0: np.zeros(48)}, [Cap(n, VECTORS[0]) for n in (0, 2, 2)])
    until = np.full((2, LENGTH), LENGTH, np.int32)
    half = model.clone(dtype=jnp.bfloat16)
    halves = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    got = stream(half, halves, TOKENS, until, edits)[1]
    assert got.dtype == jnp.bfloat16
    got = np.asarray(got, np.float32)
    want = np.asarray(stream(model, params, TOKENS, until, edits)[1])
    plain = np.asarray(stream(model, params, TOKENS, until, none)[1])
    scale = np.abs(want).max(axis=(1, 2, 3))
    assert (np.abs(got - want).max(axis=(1, 2, 3)) < 0.03 * scale).all()
    assert (np.abs(plain - want).max(axis=(1, 2, 3)) > 0.3 * scale).all()
    axis = VECTORS[1] / np.linalg.norm(VECTORS[1])
    assert (got[0] @ axis).max() <= -0.5 + 0.01 * scale[0]


def test_a_cap_bounds_the_projection_and_nothing_else():
    """By hand: along (3, 4)/5 the stream (5, 10) has 11, (0, 5) has 4, and (-5, 0) has -3."""
    x = np.array([[[5.0, 10.0], [0.0, 5.0], [-5.0, 0.0]]], np.float32)
    bounds = {"low": jnp.array([0.0]), "high": jnp.array([6.0])}
    one = residual.Edits(axes=jnp.array([[0.6, 0.8]]), **bounds)
    want = [[[2.0, 6.0], [0.0, 5.0], [-3.2, 2.4]]]
    np.testing.assert_allclose(residual.edited(x, one, None), want, atol=1e-6)
    where = np.array([[False, False, True]])
    want = [[[5.0, 10.0], [0.0, 5.0], [-3.2, 2.4]]]
    np.testing.assert_allclose(residual.edited(x, one, where), want, atol=1e-6)
    half = residual.edited(x.astype(jnp.bfloat16), one, None)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(np.float32), [[[2, 6], [0, 5], [-3.2, 2.4]]], rtol=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({3: VECTORS[0]},), "expected a layer from 0 to 2, found 3"),
        (({0: VECTORS[0][:9]},), r"expected a vector of the model's width 48, found \(9,\)"),
        (({0: np.full(48, np.nan)},), "layer 0: expected a vector of finite numbers"),
        ((None, [Cap(1, np.zeros(48), 0.0)]), "layer 1: expected an axis"),
        ((None, [Cap(1, VECTORS[0], 2.0, 1.0)]), "expected bounds low <= high, found 2.0 and 1.0"),
        ((None, [Cap(1, VECTORS[0], np.nan, 1.0)]), "expected bounds low <= high, found nan"),
    ],
)
def test_edits_that_no_model_takes_are_refused(llama, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_edits(llama[0].config, *arguments)
