"""Where a search begins; and that one which begins elsewhere ends at the same place."""

import jax
import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.solver import start as starting
from dignified_jax.mfrm.solver.blocks import totals
from dignified_jax.mfrm.solver.estimate import _design as design_of
from dignified_jax.mfrm.solver.estimate import _informed as informed
from dignified_jax.mfrm.solver.estimate import blocks_of, estimate, select
from tests.mfrm.conftest import SHAPE, assert_fits_agree
from tests.mfrm.dense import simulate as binary
from tests.mfrm.dense_ordinal import simulate

QUESTIONS = np.array([0, 0, 3, 1, 6, 6, 6, 2])


@pytest.mark.parametrize("center", ["model", "grand", "zero"])
@pytest.mark.parametrize("method", ["ridge", "laplace", "quadrature"])
def test_from_a_fit_to_other_questions(method, center):
    """Where a judge is absent, an item lacks a category, and a model has the highest scores."""
    counts = simulate(SHAPE, 4, 0, missing=0.2, most=2)
    full = mfrm.fit(counts, model="partial_credit", method=method, center=center)
    counts = counts[:, QUESTIONS]
    counts[:, :, 2] = 0
    counts[:, :, :, 1, 1] = 0
    if center == "model":
        counts[1] = counts[1].sum(axis=-1, keepdims=True) * (np.arange(4) == 3)
    found = []
    with xp.on_host(True):
        near = starting.of_fit(full).at_questions(QUESTIONS)
        for start in (None, near):
            arguments = (counts.astype(float),), jax.tree.map(np.asarray, mfrm.Precision()), {}
            limits = np.asarray(1e-9), np.asarray(100)
            options = {"model": "partial_credit", "center": center, "method": method}
            found.append(estimate(*arguments, *limits, start, **options))
    assert found[0].status == found[1].status == mfrm.Status.EMPTY_LEVEL
    # The points of a quadrature stay where they are near its end, which differs by the way there.
    assert_fits_agree(*found, atol=2e-6 if method == "quadrature" else 1e-7)
    np.testing.assert_allclose(found[0].step, found[1].step, atol=2e-6)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_sums_of_the_ratings_are_near_the_solution(missing):
    """No logit is further from it than 1, where from zero some are further than 3."""
    successes, trials = (a.astype(float) for a in binary((6, 80, 3, 4), 3, missing=missing))
    fit = mfrm.fit(successes, trials, method="ridge")
    with xp.on_host(True):
        counts, options = (successes, trials), {"model": "binomial", "center": "model"}
        selected = select(counts, {}, method="ridge", **options)
        blocks = blocks_of(counts, "binomial", selected)
        sums = totals(blocks)
        design = design_of(blocks, selected, informed(sums, blocks), {}, "model", "ridge")
        start = starting.from_margins(blocks, sums, {}, fit.precision, design)
    solution = starting.parameters_of(fit)

    def logits(at):
        return at.cell()[:, None] + at.pairs(3, 4)[:, None]

    away = np.abs(logits(start) - logits(solution)).max()
    assert away < 1.0 and np.abs(logits(solution)).max() > 3.0
    np.testing.assert_allclose([start.raters[:3].sum(), start.raters[3:].sum()], 0, atol=1e-12)
    assert fit.iterations <= 5
