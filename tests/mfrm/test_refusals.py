"""Bad input is refused by name; under tracing it becomes a status."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax import mfrm
from tests.mfrm.dense import dense_ridge

pytestmark = pytest.mark.wiring


def changed(plan, index, *, successes=None, trials=None):
    y, n = (array.astype(float) for array in plan)
    if successes is not None:
        y[index] = successes
    if trials is not None:
        n[index] = trials
    return y, n


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"successes": 4, "trials": 2}, "successes exceeds trials at .*question 5.*judge 1"),
        ({"successes": -1, "trials": 2}, "successes is negative"),
        ({"successes": 0, "trials": -1}, "trials is negative"),
        ({"successes": 0.5, "trials": 1}, "successes is fractional"),
        ({"successes": 1, "trials": 1.5}, "trials is fractional"),
        ({"successes": np.nan, "trials": 1}, "successes is not finite"),
        ({"successes": 1, "trials": np.inf}, "trials is not finite"),
    ],
)
def test_bad_counts(plan, change, message):
    arrays = changed(plan, (2, 5, 1, 0), **change)
    with pytest.raises(ValueError, match=message):
        mfrm.fit(*arrays)
    traced = jax.jit(mfrm.fit)(*map(np.float32, arrays))
    assert traced.status == mfrm.Status.BAD_COUNTS and not traced.converged
    assert jnp.isnan(traced.score).all() and jnp.isnan(traced.standard_error.judge).all()
    assert "outside jax.jit" in traced.message


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.ones((2, 3, 2)),), {}, "4 axes.*model, question, judge, rubric.*\\(2, 3, 2\\)"),
        ((np.ones((2, 3, 2, 1)), np.ones((2, 3, 1, 1))), {}, "trials must have the shape"),
        ((np.ones((2, 3, 0, 1)),), {}, "no judge"),
        ((np.full((1, 1, 1, 1), 1j),), {}, "successes must hold counts, found complex"),
        ((np.ones((2, 3, 2, 1)),), {"center": "mean"}, "center.*model, grand, zero"),
        ((np.ones((2, 3, 2, 1)),), {"method": "ml"}, "method.*ridge, laplace"),
        ((np.ones((2, 3, 2, 1)),), {"precision": 1.0}, "precision must be a mfrm.Precision"),
        (
            (np.ones((2, 3, 2, 1)),),
            {"precision": mfrm.Precision(theta=0)},
            "precision.theta must be finite and positive",
        ),
        (
            (np.ones((2, 3, 2, 1)),),
            {"precision": mfrm.Precision(judge=-1)},
            "precision.judge must be finite and at least 0",
        ),
        (
            (np.ones((2, 3, 2, 1)),),
            {"method": "laplace", "precision": mfrm.Precision()},
            "leave precision out, or choose 'ridge'",
        ),
        ((np.ones((2, 3, 2, 1)),), {"tolerance": 0.0}, "tolerance"),
        ((np.ones((2, 3, 2, 1)),), {"max_iterations": 0}, "max_iterations"),
        ((np.ones((2, 3, 2, 1)),), {"anchors": {"model": [0, 0]}}, "anchors may name judge"),
        ((np.ones((2, 3, 2, 1)),), {"anchors": {"judge": [0]}}, r"anchors\['judge'\].*\(2,\)"),
        ((np.ones((2, 3, 2, 1)),), {"anchors": {"judge": [np.inf, 0]}}, "infinite at level 0"),
        ((np.ones((2, 3, 2, 1)),), {"anchors": {"judge": [np.nan] * 2}}, "fixes no level"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        mfrm.fit(*arguments, **options)


def test_levels_without_ratings(plan):
    successes, trials = (array.copy() for array in plan)
    successes[:, 3], trials[:, 3] = 0, 0
    successes[2], trials[2] = 0, 0
    with pytest.raises(ValueError, match=r"no ratings.*model 2; question 3"):
        mfrm.fit(successes, trials)
    # Under tracing the question is left at its prior's mean and the model is unknown.
    program = jax.jit(mfrm.fit, static_argnames="method")
    fit = program(np.float32(successes), np.float32(trials), method="ridge")
    assert fit.status == mfrm.Status.EMPTY_LEVEL and not fit.converged
    keep = np.ix_([0, 1, 3], [0, 1, 2, 4, 5, 6, 7])
    rest = dense_ridge(successes[keep], trials[keep], "model", (1.0,) * 4)
    assert jnp.isnan(fit.score[2]) and not jnp.isnan(fit.score[:2]).any()
    np.testing.assert_allclose(fit.question[3], 0.0, atol=1e-6)
    np.testing.assert_allclose(fit.judge, rest.estimate["judge"], atol=1e-5)


@pytest.mark.slow
def test_bad_anchors_under_tracing(plan):
    fit = jax.jit(lambda a: mfrm.fit(*plan, anchors={"judge": a}))(jnp.full(3, jnp.nan))
    assert fit.status == mfrm.Status.BAD_ANCHORS and jnp.isnan(fit.judge).all()
