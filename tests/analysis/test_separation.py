"""AUROC, split halves and the choice of a layer against brute force."""

import numpy as np
import pytest

from dignified_jax.analysis import axis, separation
from dignified_jax.analysis.separation import Estimate, PoleSeparation

RNG = np.random.default_rng(0)


def poles(strengths, pairs=24, width=6):
    """Noise, and a direction of some strength at each layer."""
    noise = RNG.normal(size=(2, pairs, len(strengths), width))
    direction = np.ones(width) / np.sqrt(width)
    noise[0] += np.array(strengths)[:, None] * direction
    return noise.astype(np.float32)


def test_auroc_of_one_fold_per_topic_is_that_of_pairwise_comparisons():
    """Every pair left out once, by hand; 0.5 without a direction."""
    positive, negative = poles([0.0, 1.0, 9.0])
    topics = np.arange(24)
    found = separation.held_out(positive, negative, topics, folds=24)
    projected = np.zeros((2, 24, 3))
    for out in range(24):
        rest = np.arange(24) != out
        means = positive[rest].mean(0), negative[rest].mean(0)
        unit = (means[0] - means[1]) / np.linalg.norm(means[0] - means[1], axis=-1, keepdims=True)
        for pole, states in enumerate((positive, negative)):
            projected[pole, out] = np.sum((states[out] - (means[0] + means[1]) / 2) * unit, -1)
    want = [
        np.mean([[a > b for b in projected[1, :, k]] for a in projected[0, :, k]]) for k in range(3)
    ]
    np.testing.assert_allclose(found.auroc.value, want)
    assert found.auroc.value[2] == 1 and found.auroc.low[2] == 1
    assert found.auroc.low[0] < 0.5 < found.auroc.high[0]
    spread = np.sqrt(projected.var(axis=1, ddof=1).mean(0))
    effect = (projected[0].mean(0) - projected[1].mean(0)) / spread
    np.testing.assert_allclose(found.effect, effect, rtol=1e-5)


def test_pairs_of_a_group_are_left_out_together():
    """Copies of one pair under a group of its own would tell their own direction."""
    positive, negative = (np.repeat(pole[:6], 4, axis=0) for pole in poles([0.0]))
    leaky = separation.held_out(positive, negative, np.arange(24)).auroc.value[0]
    fair = separation.held_out(positive, negative, np.repeat(np.arange(6), 4)).auroc.value[0]
    assert leaky > fair + 0.1


def test_split_halves_are_cosines_of_the_halves_means():
    differences = poles([2.0, 0.0])[0]
    topics = np.repeat(np.arange(12), 2)
    found = separation.split_half(differences, topics, seed=3, splits=40)
    rng, want = np.random.default_rng(3), []
    for _ in range(40):
        left = np.isin(topics, rng.permutation(12)[:6])
        first, second = differences[left].mean(0), differences[~left].mean(0)
        lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
        want.append(np.sum(first * second, axis=-1) / lengths)
    np.testing.assert_allclose(found.value, np.mean(want, axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.low, np.quantile(want, 0.025, axis=0), rtol=1e-5)
    assert found.value[0] > 0.8 > abs(found.value[1])


@pytest.mark.parametrize(
    ("auroc", "effect", "layer"),
    [
        ([0.5, 0.9, 0.8], [0.0, 2.0, 9.0], 1),
        ([0.5, 1.0, 1.0, 1.0], [0.0, 2.0, 3.9, 4.0], 2),
        ([1.0, 1.0], [4.0, 4.0], 0),
    ],
)
def test_the_layer_of_the_best_separation_is_chosen(auroc, effect, layer):
    value = np.array(auroc)
    found = PoleSeparation(Estimate(value, value, value), np.array(effect))
    assert separation.choose_layer(found) == layer


def test_the_axis_is_the_first_component_from_others_to_the_assistant():
    """Personas along a line with a little noise: NumPy's covariance gives the same component."""
    line = np.array([3.0, 4.0, 0.0, 0.0]) / 5
    places = RNG.normal(size=12)
    personas = places[:, None] * line + 0.05 * RNG.normal(size=(12, 4))
    assistant = 4 * line
    found = axis.assistant_axis(assistant[None], personas[:, None])
    together = np.vstack([assistant, personas])
    sizes, vectors = np.linalg.eigh(np.cov(together.T))
    assert abs(found.component[0] @ vectors[:, -1]) == pytest.approx(1, abs=1e-6)
    assert found.component[0] @ line > 0.99 and found.agreement[0] > 0.99
    assert found.explained[0] == pytest.approx(sizes[-1] / sizes.sum(), rel=1e-6)
    assert np.corrcoef(found.loadings[1:, 0], places)[0, 1] > 0.99
    gap = (assistant - personas.mean(0)) @ found.component[0]
    assert np.linalg.norm(found.scaled[0]) == pytest.approx(gap, rel=1e-5)
    with pytest.raises(ValueError, match="at least two personas, found 1"):
        axis.assistant_axis(assistant[None], personas[:1, None])
