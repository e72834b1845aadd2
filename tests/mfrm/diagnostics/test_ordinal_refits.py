"""Ordinal bias, leaving judges out and group anchors against written-out solutions."""

import jax
import numpy as np
import pytest
import scipy.optimize

from dignified_jax import mfrm
from tests.mfrm.dense_ordinal import dense_ordinal, expand

pytestmark = pytest.mark.wiring

CATEGORY = np.arange(4)
ONES = (1, 1, 1, 1)


def test_bias_of_every_pair_is_a_root(judged, by_hand):
    """Judge by model: the expected sum of scores at the bias is the observed one."""
    fit, counts, _ = judged
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, mfrm.interactions(fit, counts))
    passed = np.concatenate([[0], np.cumsum(fit.step[0])])

    def moments(x):
        weight = np.exp(np.multiply.outer(x, CATEGORY) - passed)
        p = weight / weight.sum(axis=1, keepdims=True)
        mean = p @ CATEGORY
        return mean, p @ CATEGORY**2 - mean**2

    for judge, model in np.ndindex(4, 3):
        own = [(k, x) for place, k, x, _ in by_hand if (place[2], place[0]) == (judge, model)]
        k, x = np.array(own).T
        bias = scipy.optimize.brentq(lambda b, k=k, x=x: (k - moments(x + b)[0]).sum(), -20, 20)
        error = moments(x + bias)[1].sum() ** -0.5
        mean, variance = moments(x)
        z = (k - mean).sum() / np.sqrt(variance.sum())
        place = judge, model
        np.testing.assert_allclose(found.bias[place], bias, atol=1e-7)
        np.testing.assert_allclose(found.standard_error[place], error, atol=1e-7)
        np.testing.assert_allclose([found.t[place], found.z[place]], [bias / error, z], atol=1e-7)
        assert found.count[place] == len(own)


@pytest.mark.slow
def test_scores_without_a_judge_are_those_of_a_dense_fit(judged):
    fit, counts, _ = judged
    with jax.enable_x64(True):
        found = mfrm.leave_one_judge_out(fit, counts)
    for judge in range(4):
        rest = np.delete(counts, judge, axis=2)
        dense = dense_ordinal(rest, "rating_scale", "model", ONES)
        np.testing.assert_allclose(found.score_without[judge], dense.estimate["score"], atol=1e-7)
        change = np.asarray(fit.score) - dense.estimate["score"]
        np.testing.assert_allclose(found.score_change[judge], change, atol=1e-7)


@pytest.mark.slow
def test_group_anchors_are_constraints_of_a_dense_fit(judged):
    """The mean of two judges at 0.4, in the Karush-Kuhn-Tucker system; ridges on deviations."""
    fit, counts, _ = judged
    with jax.enable_x64(True):
        found = mfrm.anchor_groups(fit, counts, groups={"judge": ([0, 2], 0.4)})
    rows, _, quality, potential = expand(counts, "rating_scale", "model")
    y = counts.reshape(-1, 4).astype(float)
    n, size = y.sum(axis=1), potential.shape[-1]
    penalty = rows["theta"].T @ rows["theta"]
    for facet in ("judge", "rubric", "question"):
        deviation = rows[facet] - rows[facet].mean(axis=0)
        penalty = penalty + deviation.T @ deviation
    constraints = [rows[facet].sum(axis=0) for facet in ("rubric", "question")]
    constraints = np.array([*constraints, rows["step"][0].sum(axis=0),
                            rows["judge"][[0, 2]].mean(axis=0)])  # fmt: skip
    targets = np.array([0, 0, 0, 0.4])
    x = np.linalg.lstsq(constraints, targets, rcond=None)[0]
    for _ in range(60):
        u = potential @ x
        p = np.exp(u - np.logaddexp.reduce(u, axis=1, keepdims=True))
        gradient = np.einsum("rk,rkf->f", y - n[:, None] * p, potential) - penalty @ x
        mean = np.einsum("rk,rkf->rf", p, potential)
        centred = (potential - mean[:, None]).reshape(-1, size)
        hessian = centred.T @ ((n[:, None] * p).reshape(-1, 1) * centred) + penalty
        kkt = np.block([[hessian, constraints.T], [constraints, np.zeros((4, 4))]])
        step = np.linalg.solve(kkt, np.append(gradient, np.zeros(4)))[:size]
        x = x + step * min(1.0, 1.0 / np.abs(step).max())
    covariance = np.linalg.inv(kkt)[:size, :size]
    score = quality.mean(axis=1)
    np.testing.assert_allclose(found.judge, rows["judge"] @ x, atol=1e-7)
    np.testing.assert_allclose(found.score, score @ x, atol=1e-7)
    np.testing.assert_allclose(found.step, rows["step"] @ x, atol=1e-7)
    np.testing.assert_allclose(found.score_covariance, score @ covariance @ score.T, atol=1e-7)
    error = np.sqrt(np.diag(rows["judge"] @ covariance @ rows["judge"].T))
    np.testing.assert_allclose(found.standard_error.judge, error, atol=1e-6)
