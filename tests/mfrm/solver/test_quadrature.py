"""Quadrature against brute force: likelihood, optimum, observed information, standard errors."""

import jax
import numpy as np
import pytest

from dignified_jax import mfrm
from tests.mfrm.brute_force import Marginal, gradient
from tests.mfrm.conftest import SHAPE
from tests.mfrm.dense import simulate

NAMES = ("theta", "quality", "question", "judge", "rubric", "intercept", "score")


@pytest.fixture(scope="module")
def fitted():
    """(fit, brute force) of few, steep ratings a cell: far from what Laplace's method is for."""
    successes, trials = simulate(SHAPE, 7, missing=0.2, most_trials=2)
    with jax.enable_x64(True):
        fit = mfrm.fit(successes, trials, method="quadrature")
    return fit, Marginal(successes, trials)


def test_optimum_and_likelihood(fitted):
    fit, brute = fitted
    x = brute.pack(fit)
    print(fit.log_likelihood - brute.log_likelihood(x), gradient(brute.log_likelihood, x))
    d = gradient(brute.log_likelihood, x)
    H=-gradient(lambda x: gradient(brute.log_likelihood, x), x)
    print(np.linalg.solve(H, d))
    V=np.linalg.inv(H)
    print(np.sqrt(np.diag(V)), fit.standard_error.intercept, fit.standard_error.judge, fit.standard_error.rubric)
    r=brute.reported(x); cv=brute.conditional_variance(x)
    for name in NAMES:
        f=np.asarray(getattr(fit,name))
        slope=gradient(lambda x: brute.reported(x)[name].ravel(), x)
        c=cv[name]+slope@V@slope.T
        se=np.sqrt(np.diag(c)).reshape(f.shape)
        print(name, np.abs(f-r[name]).max(), np.abs(se/np.asarray(getattr(fit.standard_error,name))-1).max())
    print(np.abs(c-fit.score_covariance).max())
    assert 0
