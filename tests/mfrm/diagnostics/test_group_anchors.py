"""Group anchors against a dense KKT system with the group's constraint in it."""

import jax
import numpy as np
import pytest

from dignified_jax import mfrm
from tests.mfrm.dense import maps

pytestmark = pytest.mark.wiring

GROUPS = {"judge": ([0, 2], 0.7), "question": ([1, 2, 5], -0.4), "rubric": ([1], 0.2)}
FACETS = ("judge", "rubric", "question")


def dense(plan, center, groups):
    """Newton's method: means of the groups fixed (or of the facet, at 0), ridges of 1 on
    deviations from the facet's own mean."""
    successes, trials = plan
    rows, intercept, quality, design = maps(successes.shape, center)
    size = design.shape[1]
    y, n = successes.ravel().astype(float), trials.ravel().astype(float)
    penalty = rows["theta"].T @ rows["theta"]
    constraints, targets = [], []
    for facet in FACETS:
        deviation = rows[facet] - rows[facet].mean(axis=0)
        penalty = penalty + deviation.T @ deviation
        levels, value = groups.get(facet, (range(len(rows[facet])), 0.0))
        constraints.append(rows[facet][list(levels)].mean(axis=0))
        targets.append(value)
    constraints = np.array(constraints)
    x = np.linalg.lstsq(constraints, np.array(targets), rcond=None)[0]
    for _ in range(100):
        p = 1 / (1 + np.exp(-design @ x))
        hessian = design.T @ ((n * p * (1 - p))[:, None] * design) + penalty
        kkt = np.block([[hessian, constraints.T], [constraints, np.zeros((3, 3))]])
        gradient = design.T @ (y - n * p) - penalty @ x
        step = np.linalg.solve(kkt, np.concatenate([gradient, np.zeros(3)]))[:size]
        x = x + step * min(1.0, 1.0 / np.abs(step).max())
        if np.abs(step).max() < 1e-12:
            break
    covariance = np.linalg.inv(kkt)[:size, :size]
    outputs = {name: rows[name] for name in FACETS}
    outputs |= {"quality": quality, "intercept": intercept, "score": quality.mean(axis=1)}
    estimates = {name: output @ x for name, output in outputs.items()}
    errors = {
        name: np.sqrt(np.maximum(((output @ covariance) * output).sum(axis=-1), 0))
        for name, output in outputs.items()
    }
    return estimates, errors, outputs["score"] @ covariance @ outputs["score"].T


@pytest.mark.parametrize(
    ("center", "groups"),
    [
        ("model", GROUPS),
        pytest.param("grand", {"judge": GROUPS["judge"]}, marks=pytest.mark.slow),
    ],
)
def test_equals_dense(plan, center, groups):
    with jax.enable_x64(True):
        fit = mfrm.fit(*plan, center=center, method="ridge")
        found = mfrm.anchor_groups(fit, *plan, groups=groups)
    estimates, errors, covariance = dense(plan, center, groups)
    for name, value in estimates.items():
        np.testing.assert_allclose(getattr(found, name), value, atol=1e-9, err_msg=name)
        # The standard error of what is fixed is the root of rounding.
        np.testing.assert_allclose(
            getattr(found.standard_error, name), errors[name], atol=1e-7, err_msg=name
        )
    np.testing.assert_allclose(found.score_covariance, covariance, atol=1e-9)
    np.testing.assert_array_equal(found.theta, fit.theta)
    for facet, (levels, value) in groups.items():
        np.testing.assert_allclose(np.asarray(getattr(found, facet))[levels].mean(), value)


@pytest.mark.slow
def test_no_logit_changes_for_laplace(plan):
    with jax.enable_x64(True):
        fit = mfrm.fit(*plan, method="laplace")
        found = mfrm.anchor_groups(fit, *plan, groups={"judge": GROUPS["judge"]})
    before, after = (f.quality[:, :, None] - f.judge for f in (fit, found))
    np.testing.assert_allclose(before, after, atol=1e-12)
    # Differences of judges are as well known as before.
    assert found.standard_error.judge[0] < fit.standard_error.judge[0] * 1.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": {"model": ([0], 0.0)}}, "groups may name judge, rubric, question"),
        ({"groups": {"judge": ([3], 0.0)}}, "names level 3 of 3"),
        ({"groups": {"judge": ([-1], 0.0)}}, "names level -1 of 3"),
        ({"groups": {"judge": ([], 0.0)}}, "list levels by index"),
        ({"groups": {"judge": ([0], np.nan)}}, "finite mean"),
        ({"groups": {}}, "no facet"),
        ({"groups": {"judge": ([0], 0.0)}, "center": "zero"}, "center model or grand"),
        ({"groups": {"question": ([0], 0.0)}, "method": "laplace"}, "random"),
    ],
)
def test_refusals(plan, options, message):
    options = dict(options)
    with jax.enable_x64(True):
        groups, made = options.pop("groups"), {"method": "ridge"} | options
        fit = mfrm.fit(*plan, **made)
        with pytest.raises(ValueError, match=message):
            mfrm.anchor_groups(fit, *plan, groups=groups)


def test_anchored_facets_have_their_scale(plan):
    anchors = {"judge": np.array([0.5, np.nan, 0.7]), "question": np.zeros(8)}
    groups = {"judge": ([0], 0.0)}
    with jax.enable_x64(True):
        fit = mfrm.fit(*plan, anchors=anchors, method="ridge")
        with pytest.raises(ValueError, match="judge is anchored"):
            mfrm.anchor_groups(fit, *plan, groups=groups, anchors=anchors)
        with pytest.raises(ValueError, match="judge does not sum to zero"):
            mfrm.anchor_groups(fit, *plan, groups=groups)


def test_tables_are_on_the_scale_of_the_groups(plan):
    """Diagnosed before: measures are the anchored fit's, adjusted ones move as the others do."""
    successes, trials = (array.copy() for array in plan)
    successes[1] = trials[1]
    fit = mfrm.fit(successes, trials, method="laplace")
    about = mfrm.diagnose(fit, successes, trials)
    anchored = mfrm.anchor_groups(fit, successes, trials, groups={"rubric": ([1], 0.5)})
    labels = dict.fromkeys(("model", "question", "judge", "rubric"), tuple(range(8)))
    table = mfrm.tables.measure_table(anchored, about, labels, "rubric")
    np.testing.assert_allclose(table.columns["measure"], anchored.rubric, rtol=1e-6)
    assert table.columns["measure"][1] == pytest.approx(0.5, abs=1e-6)
    models = mfrm.tables.measure_table(anchored, about, labels, "model").columns
    moved = 0.5 - float(fit.rubric[1])
    assert abs(moved) > 0.1 and "adjusted" in models["extreme"][1]
    np.testing.assert_allclose(models["measure"], about.model.measure + moved, atol=1e-5)
    np.testing.assert_allclose(models["se"][0], anchored.standard_error.score[0], rtol=1e-6)


def test_a_judge_of_infinite_severity_is_in_no_group(plan):
    """It stays infinite; the others, and the scores, move as without it."""
    successes, trials = (array.copy() for array in plan)
    successes[:, :, 2] = trials[:, :, 2]
    fit = mfrm.fit(successes, trials, method="laplace")
    assert fit.judge[2] == -np.inf
    found = mfrm.anchor_groups(fit, successes, trials, groups={"judge": ([0], 0.5)})
    shift = 0.5 - fit.judge[0]
    np.testing.assert_allclose(found.judge, fit.judge + shift)
    np.testing.assert_allclose(found.score, fit.score + shift)
    np.testing.assert_allclose(found.quality, fit.quality + shift)
    assert np.isfinite(found.standard_error.score).all()
    with pytest.raises(ValueError, match="names level 2, which has no finite measure"):
        mfrm.anchor_groups(fit, successes, trials, groups={"judge": ([0, 2], 0.5)})


def test_judges_on_the_scale_of_a_group_are_not_left_out(plan):
    """Shifts of the gauge are from a zero sum; refits have it, the fit would not."""
    fit = mfrm.fit(*plan, method="ridge")
    moved = mfrm.anchor_groups(fit, *plan, groups={"judge": ([0, 1], 0.5)})
    fixed = mfrm.fit(*plan, method="ridge", anchors={"judge": [0.5, np.nan, np.nan]})
    for other in (moved, fixed):
        with pytest.raises(ValueError, match="the fit's judges do not sum to zero"):
            mfrm.leave_one_judge_out(other, *plan)
