"""Terms that DPO-like methods share: hand numbers, a NumPy loss, and where each term enters."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.objectives import (
    MODPO,
    SACPO,
    SFT,
    LagDPO,
    MultiNegativeDPO,
    PCGradDPO,
    RewardedSoup,
    SafeRLHF,
    ScoredBatch,
    Terms,
    golden,
    terms,
)
from dignified_jax.objectives.duals.controllers import Ascent
from dignified_jax.objectives.duals.tolerances import Constant

ALL = (LagDPO, MultiNegativeDPO, PCGradDPO, SafeRLHF, SACPO, MODPO, RewardedSoup)
TRAINED = (LagDPO, MultiNegativeDPO, PCGradDPO, SafeRLHF)
DIMENSIONS = ("A", "T", "E", "C")
RNG = np.random.default_rng(0)
MASK = RNG.random((9, 5)) < 0.6
MASK[:, 0] = True
LENGTHS = np.where(MASK, RNG.integers(1, 9, (9, 5)), 0)
POLICY = np.where(MASK, -3.0 * LENGTHS * RNG.random((9, 5)), 0.0)
REFERENCE = np.where(MASK, -3.0 * LENGTHS * RNG.random((9, 5)), 0.0)
FORMS = (
    {"length_normalized": True},
    {"label_smoothing": 0.2},
    {"label_smoothing": 0.2, "robust": True},
    {"length_normalized": True, "label_smoothing": 0.3},
)


def batch_of(policy=POLICY, mask=MASK, rewards=None):
    ratios = jnp.asarray(policy - REFERENCE, jnp.float32)
    return ScoredBatch(ratios, jnp.asarray(mask), jnp.asarray(LENGTHS), rewards)


def losses_of(method, state=None, **fields):
    batch = batch_of(**fields)
    state = method.init(4) if state is None else state
    return method.loss(batch, method.batch_counts(batch.mask, batch.lengths), state)


def one_pair(method, golden_ratio, reject_ratio, golden_length, reject_length):
    mask = np.zeros((1, 5), bool)
    mask[0, :2] = True
    ratios = jnp.asarray([[golden_ratio, reject_ratio, 0.0, 0.0, 0.0]], jnp.float32)
    lengths = jnp.asarray([[golden_length, reject_length, 0, 0, 0]])
    return float(method.pair_losses(ScoredBatch(ratios, jnp.asarray(mask), lengths))[0, 0])


def test_one_pair_by_hand():
    """Log-ratios 6 of 3 tokens and 5 of 10, beta 1/2: margins 1/2 of sums, 3/4 of means."""
    plain, normalized = math.log1p(math.exp(-0.5)), math.log1p(math.exp(-0.75))
    flipped = math.log1p(math.exp(0.5))
    cases = {
        (): plain,
        ("length_normalized",): normalized,
        ("label_smoothing",): 0.8 * plain + 0.2 * flipped,
        ("label_smoothing", "robust"): (0.8 * plain - 0.2 * flipped) / 0.6,
    }
    values = {"length_normalized": True, "label_smoothing": 0.2, "robust": True}
    for names, expected in cases.items():
        method = LagDPO(beta=0.5, **{name: values[name] for name in names})
        np.testing.assert_allclose(one_pair(method, 6.0, 5.0, 3, 10), expected, rtol=1e-6)


def test_smoothing_by_its_two_definitions():
    """Conservative: least where the model's probability is that of the label, with its entropy.
    Robust: its mean over labels flipped at that rate is the plain loss of the true one.
    """
    smoothed = LagDPO(beta=1.0, label_smoothing=0.2)
    margins = np.log(0.8 / 0.2) + np.array([-0.1, 0.0, 0.1])
    values = [one_pair(smoothed, margin, 0.0, 1, 1) for margin in margins]
    assert values[1] < min(values[0], values[2])
    entropy = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    np.testing.assert_allclose(values[1], entropy, rtol=1e-6)
    robust, plain = dataclasses.replace(smoothed, robust=True), LagDPO(beta=1.0)
    for margin in (-2.0, 0.3, 4.0):
        mean = 0.8 * one_pair(robust, margin, 0.0, 1, 1) + 0.2 * one_pair(robust, -margin, 0, 1, 1)
        np.testing.assert_allclose(mean, one_pair(plain, margin, 0.0, 1, 1), rtol=1e-5)
    assert one_pair(robust, 9.0, 0.0, 1, 1) < 0


@pytest.mark.parametrize("fields", FORMS)
@pytest.mark.parametrize("kind", TRAINED)
def test_an_untrained_policy_has_log_2(kind, fields):
    _, losses = losses_of(kind(**fields), policy=REFERENCE)
    np.testing.assert_allclose(losses, np.log(2.0), rtol=1e-6)


def written_out(policy, fields, weights, beta, nll):
    """sum_k weights_k L_k + nll x NLL in NumPy's float64, pair by pair."""
    totals, counts, sums, tokens = np.zeros(4), np.zeros(4), 0.0, 0
    flip = fields.get("label_smoothing", 0.0)
    ratios = policy - REFERENCE
    if fields.get("length_normalized"):
        ratios = ratios / np.maximum(LENGTHS, 1)
    for i, k in np.argwhere(MASK[:, 1:]):
        margin = beta * (ratios[i, 0] - ratios[i, 1 + k])
        right, wrong = np.log1p(np.exp(-margin)), np.log1p(np.exp(margin))
        if fields.get("robust"):
            totals[k] += ((1 - flip) * right - flip * wrong) / (1 - 2 * flip)
        else:
            totals[k] += (1 - flip) * right + flip * wrong
        counts[k] += 1
        sums -= policy[i, 0]
        tokens += LENGTHS[i, 0]
    return np.sum(weights * totals / counts) + nll * sums / tokens


@pytest.mark.parametrize("fields", FORMS)
@pytest.mark.parametrize("kind", TRAINED)
def test_loss_and_gradient_equal_finite_differences_of_the_loss_written_out(kind, fields):
    """Loss 1e-6 and gradient 2e-5 relative to the largest entry, in float32."""
    method = kind(beta=0.7, golden_nll=1.3, **fields)
    weights = np.full(4, 0.25)
    if kind is LagDPO:
        method = dataclasses.replace(method, lambda_init=(0.0, 1.0, 2.0, 0.5))
        weights = (1.0 + np.array([0.0, 1.0, 2.0, 0.5])) / 4
    mask, lengths = jnp.asarray(MASK), jnp.asarray(LENGTHS)

    def total(policy):
        loss, _ = losses_of(method, policy=policy)
        return golden.add(loss, method, policy, mask, lengths)

    value, gradient = jax.value_and_grad(total)(jnp.asarray(POLICY, jnp.float32))
    arguments = fields, weights, 0.7, 1.3
    np.testing.assert_allclose(value, written_out(POLICY, *arguments), rtol=1e-6)
    expected = np.zeros_like(POLICY)
    for at in np.argwhere(MASK):
        step = np.zeros_like(POLICY)
        step[tuple(at)] = 1e-5
        higher, lower = (written_out(POLICY + sign * step, *arguments) for sign in (1, -1))
        expected[tuple(at)] = (higher - lower) / 2e-5
    np.testing.assert_allclose(gradient, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("fields", [*FORMS, {}])
def test_parts_add_up_and_masked_rows_equal_sliced_ones(fields):
    """What a device or an accumulation step has, with the counts of all; 1e-6."""
    method = MultiNegativeDPO(golden_nll=0.8, **fields)
    mask, lengths = jnp.asarray(MASK), jnp.asarray(LENGTHS)
    counts = method.batch_counts(mask, lengths)
    whole = golden.token_nll(jnp.asarray(POLICY), mask, lengths)
    halves = [np.where(np.arange(9)[:, None] < 4, POLICY, 0.0), None]
    halves[1] = POLICY - halves[0]
    parts = [golden.token_nll(jnp.asarray(half), mask, lengths) for half in halves]
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-6)

    kept = np.arange(9) < 4
    masked = jnp.asarray(np.where(kept[:, None], MASK, False))
    dirty = jnp.asarray(np.where(kept[:, None], POLICY, np.nan))
    sliced = golden.token_nll(jnp.asarray(POLICY[:4]), mask[:4], lengths[:4])
    np.testing.assert_allclose(golden.token_nll(dirty, masked, lengths), sliced, rtol=1e-6)
    batch = ScoredBatch(dirty, masked, lengths)
    part = method.pair_losses(batch)
    assert np.isfinite(part).all() and not part[4:].any()
    rest = ScoredBatch(jnp.asarray(POLICY), mask & ~masked, lengths)
    both = method.dimension_losses(batch, counts) + method.dimension_losses(rest, counts)
    every = method.dimension_losses(ScoredBatch(jnp.asarray(POLICY), mask, lengths), counts)
    np.testing.assert_allclose(both, every, rtol=1e-6)


def test_a_row_of_several_rejects_is_a_row_for_each():
    """The golden's NLL does not change when rows that share prompt and golden are joined."""
    rows = [(i, k) for i, k in np.argwhere(MASK[:, 1:])]
    mask = np.zeros((len(rows), 5), bool)
    for number, (_, k) in enumerate(rows):
        mask[number, [0, 1 + k]] = True
    of = [i for i, _ in rows]
    apart = golden.token_nll(*map(jnp.asarray, (POLICY[of], mask, LENGTHS[of])))
    joined = golden.token_nll(*map(jnp.asarray, (POLICY, MASK, LENGTHS)))
    np.testing.assert_allclose(joined, apart, rtol=1e-6)


def test_an_empty_batch_has_no_nll():
    nothing = jnp.zeros((2, 5), bool)
    assert golden.token_nll(jnp.full((2, 5), jnp.nan), nothing, jnp.zeros((2, 5), int)) == 0.0


def test_lambda_answers_to_the_pair_losses_and_not_to_the_nll():
    """One ascent by hand: (L_k - 0.5) / 10, L_k with the pair's terms and without the NLL."""
    for fields in ({}, *FORMS):
        plain = LagDPO(
            epsilon=(0.5,),
            schedule=Constant(),
            controller=Ascent(0.1),
            lambda_init=(1.0,),
            **fields,
        )
        found = []
        for method in (plain, dataclasses.replace(plain, golden_nll=5.0)):
            _, losses = losses_of(method)
            state = method.update(method.init(4), losses, jnp.ones(4, bool), batch_of())
            found.append(np.asarray(state.multipliers))
        expected = [written_out(POLICY, fields, np.eye(4)[k], 0.1, 0.0) for k in range(4)]
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_allclose(found[0], 1.0 + 0.1 * (np.array(expected) - 0.5), rtol=1e-6)


def test_safe_rlhfs_constraint_has_the_pairs_terms():
    method = SafeRLHF(label_smoothing=0.2, golden_nll=5.0)
    values, known = method.constraint_values(batch_of())
    pairs = np.asarray(method.pair_losses(batch_of()))[:, :2]
    for i in range(9):
        there = MASK[i, 1:3]
        assert known[i] == there.any()
        np.testing.assert_allclose(values[i], pairs[i][there].mean() if there.any() else 0.0)


def test_modpos_margins_are_smoothed():
    rewards = jnp.asarray(RNG.normal(size=(9, 5, 4)), jnp.float32)
    one = np.eye(4)[1]
    loss, _ = losses_of(MODPO(weights=tuple(one), label_smoothing=0.2), rewards=rewards)
    alone, _ = losses_of(MultiNegativeDPO(weights=tuple(one), label_smoothing=0.2))
    np.testing.assert_allclose(loss, alone, rtol=1e-6)
    plain, _ = losses_of(MODPO(weights=tuple(one)), rewards=rewards)
    assert abs(loss - plain) > 1e-3


def test_stages_have_the_terms():
    fields = {"golden_nll": 0.5, "length_normalized": True, "label_smoothing": 0.1, "robust": True}
    for method in (SACPO(**fields), RewardedSoup(**fields)):
        for stage in method.stages(DIMENSIONS):
            assert terms.of(stage.objective) == fields
    # The rewards of MODPO are log-ratios of policies that nothing but preferences made.
    smoothed = {"label_smoothing": 0.1, "robust": True}
    for stage in MODPO(golden_nll=0.5, **smoothed).stages(DIMENSIONS):
        assert terms.of(stage.objective) == {**terms.of(LagDPO()), **smoothed}
    assert terms.of(SFT()) == {}


@pytest.mark.parametrize("kind", ALL)
def test_terms_are_off_and_refused_by_name(kind):
    assert terms.of(kind()) == terms.of(Terms()) and not any(terms.of(kind()).values())
    assert not kind().changes_losses and kind(label_smoothing=0.1).changes_losses
    for fields, message in (
        ({"golden_nll": -1.0}, "method.golden_nll must be at least 0"),
        ({"golden_nll": math.inf}, "method.golden_nll must be finite"),
        ({"label_smoothing": 0.5}, "method.label_smoothing must be below 0.5"),
        ({"robust": True}, "method.robust has no meaning without method.label_smoothing"),
    ):
        with pytest.raises(ValueError, match=message):
            kind(**fields)


def test_modpo_refuses_means_over_tokens():
    with pytest.raises(ValueError, match=r"method.length_normalized contradicts .*'modpo'"):
        MODPO(length_normalized=True)


@pytest.mark.parametrize("kind", ALL)
def test_runs_of_versions_without_terms_go_on(kind):
    assert kind.upgraded({"beta": 0.2}) == {**terms.of(kind()), "beta": 0.2}
    assert kind.upgraded({"golden_nll": 0.3})["golden_nll"] == 0.3
