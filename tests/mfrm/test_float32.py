"""Single precision against double, where it is hardest: extreme cells and hardly any prior."""

import numpy as np
import pytest

from dignified_jax import mfrm

RIDGES = [(1.0,) * 4, (1e-3,) * 4, (1e-6,) * 4, (1.0, 1e-6, 1e-6, 1e-6), (1e-6, 1.0, 1.0, 1.0)]


def extreme_plan(plans):
    """Cells with one answer only, and a question that every model passes."""
    successes, trials = plans[1][0].copy(), plans[1][1]
    successes[0, :3] = trials[0, :3]
    successes[2, 3:5] = 0
    successes[:, 6] = trials[:, 6]
    return successes, trials


@pytest.mark.parametrize(
    "center", ["model", *(pytest.param(c, marks=pytest.mark.slow) for c in ("grand", "zero"))]
)
def test_within_1e_4(plans, center):
    for successes, trials in (plans[0], extreme_plan(plans)):
        for ridge in RIDGES:
            precision = mfrm.Precision(*ridge)
            options = {"center": center, "precision": precision}
            single = mfrm.fit(successes, trials, **options, compiled=True)
            double = mfrm.fit(successes, trials, **options)
            assert single.theta.dtype == np.float32 and double.theta.dtype == np.float64
            assert single.converged and double.converged, (ridge, single.message)
            for name in ("quality", "theta", "judge", "rubric", "question", "score"):
                np.testing.assert_allclose(
                    getattr(single, name),
                    getattr(double, name),
                    rtol=0,
                    atol=1e-4,
                    err_msg=f"{name} with ridges {ridge}",
                )
                np.testing.assert_allclose(
                    getattr(single.standard_error, name),
                    getattr(double.standard_error, name),
                    rtol=1e-5,
                    err_msg=f"standard error of {name} with ridges {ridge}",
                )


@pytest.mark.slow
def test_extreme_cells_go_where_the_prior_lets_them(plans):
    """A cell of n successes and precision p solves n / (1 + e^x) = p theta."""
    successes, trials = extreme_plan(plans)
    precision = mfrm.Precision(1e-6, 1.0, 1.0, 1.0)
    fit = mfrm.fit(successes, trials, center="zero", precision=precision, compiled=True)
    assert fit.extreme.cell[0, 0] == 1
    logit = fit.theta[0, 0] - fit.question[0] - fit.judge[:, None] - fit.rubric
    residual = (trials[0, 0] / (1 + np.exp(np.asarray(logit, float)))).sum()
    np.testing.assert_allclose(residual, 1e-6 * float(fit.theta[0, 0]), rtol=1e-3)
    assert fit.theta[0, 0] > 10
