"""Choice of tokens against transformers' own filters, and against probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers.generation import TopKLogitsWarper, TopPLogitsWarper

from dignified_jax.generation.sampling import choose, keep_likely, rule_and_dials
from dignified_jax.generation.settings import Settings
from dignified_jax.typed_config import ConfigError

LOGITS = np.random.default_rng(0).normal(0, 3, (40, 500)).astype(np.float32)


@pytest.mark.parametrize(("top_k", "top_p"), [(None, 0.9), (None, 0.05), (7, 1.0), (20, 0.6)])
def test_the_same_tokens_are_kept_as_in_transformers(top_k, top_p):
    rule, dials = rule_and_dials(Settings(temperature=1.0, top_k=top_k, top_p=top_p))
    kept = np.isfinite(keep_likely(jnp.asarray(LOGITS), rule, dials.top_p))
    want = torch.tensor(LOGITS)
    if top_k is not None:
        want = TopKLogitsWarper(top_k)(None, want)
    if top_p < 1:
        want = TopPLogitsWarper(top_p)(None, want)
    np.testing.assert_array_equal(kept, np.isfinite(want.numpy()))
    assert 0 < kept.sum() < kept.size


def test_equally_likely_tokens_are_kept_together():
    rule, dials = rule_and_dials(Settings(temperature=1.0, top_p=0.5))
    logits = jnp.array([[0.0, 0.0, 0.0, -1e9]])
    assert np.isfinite(keep_likely(logits, rule, dials.top_p)).tolist() == [[True] * 3 + [False]]


def test_draws_have_the_softmax_as_their_frequencies():
    """20,000 draws at temperature 2: within four standard errors."""
    logits = np.array([2.0, 0.0, -1.0, 1.0], np.float32)
    rule, dials = rule_and_dials(Settings(temperature=2.0))
    draws = 20_000
    rows = jnp.broadcast_to(jnp.asarray(logits), (draws, 4))
    seeds = jnp.arange(draws, dtype=jnp.uint32) // 100
    drawn = choose(rows, seeds, jnp.arange(draws) % 100, rule, dials)
    got = np.bincount(drawn, minlength=4) / draws
    want = np.exp(logits / 2) / np.exp(logits / 2).sum()
    assert (np.abs(got - want) < 4 * np.sqrt(want * (1 - want) / draws)).all()


def test_a_draw_depends_on_its_seed_and_index_alone():
    rule, dials = rule_and_dials(Settings(temperature=1.0, top_p=0.95))
    logits = jnp.asarray(LOGITS)
    seeds, indices = jnp.arange(40, dtype=jnp.uint32), jnp.arange(40) * 3
    whole = choose(logits, seeds, indices, rule, dials)
    turned = choose(logits[::-1], seeds[::-1], indices[::-1], rule, dials)
    assert (turned[::-1] == whole).all()
    same = jnp.broadcast_to(logits[:1], logits.shape)
    assert len(set(np.asarray(choose(same, seeds, indices, rule, dials)))) > 3
    assert jax.eval_shape(lambda: whole).dtype == np.int32


def test_greedy_takes_the_likeliest():
    rule, dials = rule_and_dials(Settings())
    none = jnp.zeros(40, jnp.uint32), jnp.zeros(40, jnp.int32)
    np.testing.assert_array_equal(choose(jnp.asarray(LOGITS), *none, rule, dials), LOGITS.argmax(1))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temperature": -1.0}, "temperature must be at least 0, found -1"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p must be positive, found 0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, found 0"),
        ({"top_k": 5}, "top_p and top_k have no meaning with temperature=0"),
        ({"stop": "END"}, "stop: expected texts in a tuple, found 'END'"),
        ({"stop": ("",)}, "stop: expected texts, found an empty one"),
    ],
)
def test_settings_are_checked(fields, said):
    with pytest.raises((ConfigError, ValueError), match=said):
        Settings(**fields)
