"""Agreement of judges of lists: what the dense arrays give, and of many without pairs."""

import dataclasses

import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.sparse import agreement as module
from tests.mfrm.dense import simulate
from tests.mfrm.sparse.test_fit import as_list

pytestmark = pytest.mark.wiring

GROUPS = {"some": [0, 2, 3]}
PAIRED = ("common", "exact", "expected", "rasch_kappa", "cohen_kappa")


@pytest.fixture(scope="module")
def fitted():
    """(fit, dense ratings, list) with several judgments in a place, and a model of successes."""
    successes, trials = simulate((4, 8, 5, 2), 3, missing=0.3, most_trials=3)
    successes[3] = trials[3]
    fit = mfrm.fit(successes, trials, method="ridge")
    assert np.isinf(fit.score[3])
    return fit, (successes, trials), as_list(successes, trials)


def test_equals_the_dense_one(fitted):
    fit, counts, ratings = fitted
    options = {"groups": GROUPS, "replicates": 20, "seed": 3}
    found = mfrm.sparse_agreement(fit, ratings, **options)
    expected = mfrm.agreement(fit, *counts, **options)
    for name in PAIRED:
        one, other = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(one, other, atol=1e-10, err_msg=name)
    for one, other in (
        (found.overall, expected.overall),
        (found.groups["some"], expected.groups["some"]),
    ):
        for name, figures in other.items():
            np.testing.assert_allclose(one[name], figures, atol=1e-10, err_msg=name)


def test_of_many_judges_by_sums(fitted, monkeypatch):
    """The same figures and intervals, but for those that compare judges one by one."""
    fit, counts, ratings = fitted
    monkeypatch.setattr(module, "MOST_PAIRED", 4)
    options = {"groups": GROUPS, "replicates": 20, "seed": 3}
    found = mfrm.sparse_agreement(fit, ratings, **options)
    expected = mfrm.agreement(fit, *counts, **options)
    assert found.common.shape == (0, 0)
    for one, other in (
        (found.overall, expected.overall),
        (found.groups["some"], expected.groups["some"]),
    ):
        for name in ("exact", "expected", "rasch_kappa", "alpha_nominal", "alpha_interval"):
            np.testing.assert_allclose(one[name], other[name], atol=1e-10, err_msg=name)
        assert np.isnan(one["cohen_kappa"]).all()


def test_ratings_differing_in_a_further_facet_are_of_different_units():
    """Two judges who agree on every answer in one language, and never in the other."""
    rows = [(m, q, j, e) for m in range(2) for q in range(6) for j in range(2) for e in range(2)]
    model, question, judge, language = np.array(rows).T
    score = (model + question) % 2 ^ (judge & language)
    ratings = mfrm.SparseRatings(
        model, question, judge, 0 * model, score, np.ones_like(score),
        {"model": (0, 1), "question": tuple(range(6)), "judge": (0, 1), "rubric": (None,),
         "language": ("en", "de")},
        {"language": language},
    )  # fmt: skip
    counts = np.zeros((2, 6, 2, 1), int)
    np.add.at(counts, (model, question, judge, 0), score)
    fit = mfrm.fit(counts, np.full_like(counts, 2), method="ridge")
    error = dataclasses.replace(fit.standard_error, rubric=np.zeros(3))
    fit = dataclasses.replace(fit, rubric=np.zeros(3), standard_error=error)
    found = mfrm.sparse_agreement(fit, ratings, replicates=0)
    assert found.common[0, 1] == 24 and found.exact[0, 1] == 0.5
    with pytest.raises(ValueError, match="must list two judges of 2 or more"):
        mfrm.sparse_agreement(fit, ratings, groups={"x": [1]})
