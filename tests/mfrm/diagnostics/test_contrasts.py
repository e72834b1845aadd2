"""Contrasts of models against formulas written out, and SciPy's tail probabilities."""

import types

import numpy as np
import scipy.stats

from dignified_jax import mfrm


def test_contrasts_by_hand():
    score = np.array([1.0, 0.4, np.inf, -0.5])
    covariance = np.diag([0.04, 0.09, np.inf, 0.01]) + 0.005 * (1 - np.eye(4))
    found = mfrm.contrasts(types.SimpleNamespace(score=score, score_covariance=covariance))
    assert list(zip(found.first, found.second, strict=True)) == [(0, 1), (0, 3), (1, 3)]
    np.testing.assert_allclose(found.difference, [0.6, 1.5, 0.9])
    error = np.sqrt(np.array([0.13, 0.05, 0.10]) - 0.01)
    np.testing.assert_allclose(found.standard_error, error)
    p = 2 * scipy.stats.norm.sf(found.difference / error)
    np.testing.assert_allclose(found.p, p, rtol=1e-9)
    np.testing.assert_allclose(
        found.q, scipy.stats.false_discovery_control(p, method="bh"), rtol=1e-5
    )
    ordered = np.sort(p)
    holm = np.maximum.accumulate(ordered * [3, 2, 1])
    np.testing.assert_allclose(np.sort(found.holm), np.minimum(holm, 1), rtol=1e-9)


def test_one_model_has_no_contrast():
    fit = types.SimpleNamespace(score=np.zeros(1), score_covariance=np.eye(1))
    assert mfrm.contrasts(fit).p.size == 0
