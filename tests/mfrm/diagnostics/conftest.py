"""One ordinal fit with missing ratings, which several modules look at; and its chances by hand."""

import dataclasses

import jax
import numpy as np
import pytest

from dignified_jax import mfrm

SHAPE = (3, 6, 4, 3)
CATEGORIES = 4


def fit_of(quality, judge, rubric, question, step=None):
    """A fit with these estimates and nothing else: what diagnostics that hold them need."""
    known = dict.fromkeys(field.name for field in dataclasses.fields(mfrm.Fit))
    known |= {"quality": quality, "judge": judge, "rubric": rubric, "question": question}
    return mfrm.Fit(**(known | {"score": quality.mean(axis=1), "step": step}))


def chances_by_hand(fit, place):
    """P(k) of a rating, from log P(k) / P(k - 1) = logit - step_k."""
    m, q, j, i = place
    x = float(fit.quality[m, q] - fit.question[q] - fit.judge[j] - fit.rubric[i])
    weight = np.exp(x * np.arange(CATEGORIES) - np.concatenate([[0], np.cumsum(fit.step[0])]))
    return x, weight / weight.sum()


@pytest.fixture(scope="session")
def judged():
    """(fit, counts, (M, Q, J, I) categories with NaN for the fifth that is missing)."""
    rng = np.random.default_rng(1)
    truth = 0.9 * rng.normal(size=(3, 6, 1, 3)) + np.array([-0.5, 0.0, 0.1, 0.4])[:, None]
    scores = np.clip(np.round(1.5 + truth + 0.7 * rng.normal(size=SHAPE)), 0, 3)
    scores[rng.random(SHAPE) < 0.2] = np.nan
    counts = (scores[..., None] == np.arange(CATEGORIES)).astype(int)
    with jax.enable_x64(True):
        fit = mfrm.fit(counts, model="rating_scale", method="ridge")
        assert fit.converged
        return jax.tree.map(np.asarray, fit), counts, scores


@pytest.fixture(scope="session")
def by_hand(judged):
    """Every rating as (place, category, logit, chances)."""
    fit, _, scores = judged
    return [
        (place, int(scores[place]), *chances_by_hand(fit, place))
        for place in map(tuple, np.argwhere(np.isfinite(scores)))
    ]
