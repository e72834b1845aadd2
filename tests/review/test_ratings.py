"""Agreement: against the krippendorff package, formulas by hand, and mfrm.fit in this process."""

import math
import pathlib
import subprocess

import numpy as np
import pytest

from dignified_jax.review import ratings
from dignified_jax.review.ratings import Rating
from dignified_jax.review.rubric import Questionnaire

pytestmark = pytest.mark.wiring
NO_ITEMS = Questionnaire({}, {})


def made(values):
    """Ratings from (rows, reviewers) of 0 and 1, NaN where there is none."""
    return [
        Rating(f"R{who}", row, "A", {ratings.OUTCOME: int(value)})
        for row, of_row in enumerate(values)
        for who, value in enumerate(of_row)
        if np.isfinite(value)
    ]


@pytest.fixture(scope="module")
def values():
    """Forty rows, each judged by two of four reviewers."""
    rng = np.random.default_rng(0)
    found = np.full((40, 4), np.nan)
    truth = rng.random(40) < 0.6
    for row in range(40):
        for who in rng.choice(4, 2, replace=False):
            found[row, who] = truth[row] if rng.random() < 0.85 else not truth[row]
    return found


def test_figures_equal_independent_ones(values):
    krippendorff = pytest.importorskip("krippendorff")
    (found,) = ratings.agreement(made(values), replicates=300)
    alpha = krippendorff.alpha(reliability_data=values.T, level_of_measurement="nominal")
    np.testing.assert_allclose(found.alpha[0], alpha, atol=1e-12)
    assert found.alpha[1] < alpha < found.alpha[2]
    both = [each[np.isfinite(each)] for each in values]
    exact = np.mean([a == b for a, b in both])
    share = np.mean(np.concatenate(both))
    chance = share**2 + (1 - share) ** 2
    np.testing.assert_allclose(found.exact, exact, atol=1e-12)
    np.testing.assert_allclose(found.fleiss, (exact - chance) / (1 - chance), atol=1e-12)
    assert found.units == 40 and found.question == ratings.OUTCOME


def test_the_interval_is_of_whole_rows():
    """Two dimensions of a row go together: with equal ones the interval is that of one."""
    one = made([[1, 1], [0, 1], [0, 0], [1, 1], [1, 0], [0, 0]])
    two = one + [Rating(r.reviewer, r.row_id, "E", r.values) for r in one]
    (alone,), (doubled,) = (ratings.agreement(each, replicates=2000, seed=1) for each in (one, two))
    # Alpha of twice as many units differs by its correction for their number alone.
    np.testing.assert_allclose(doubled.alpha, alone.alpha, atol=0.1)
    assert doubled.units == 12


def test_no_ratings_and_no_overlap_are_no_failures():
    assert ratings.agreement([]) == []
    (found,) = ratings.agreement(made([[1, np.nan], [np.nan, 0]]))
    assert found.units == 0 and math.isnan(found.alpha[0])
    assert ratings.tables([found])[0].json()["columns"]["alpha"] == [None]


@pytest.mark.slow
def test_severities_equal_a_fit_in_this_process(values):
    from dignified_jax import mfrm

    rows = [r for r in made(values)]
    found = ratings.severities(rows, NO_ITEMS)
    rated = np.isfinite(values)
    success = np.where(rated, values, 0)[None, :, :, None]
    fit = mfrm.fit(success, rated[None, :, :, None].astype(int))
    np.testing.assert_allclose([s.severity for s in found], fit.judge, atol=2e-4)
    assert [s.reviewer for s in found] == ["R0", "R1", "R2", "R3"]


@pytest.mark.slow
def test_a_reviewer_of_whom_the_ratings_tell_nothing_has_a_dash(monkeypatch):
    """As one who has only judged what everyone ticked: its row in judge.csv has blanks."""

    def fit(command, **options):
        directory = pathlib.Path(command[command.index("--out") + 1])
        directory.mkdir()
        table = "judge,ratings,measure,se\nR1,9,0.5,0.25\nR2,2,,\n"
        (directory / "judge.csv").write_text(table)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(ratings.subprocess, "run", fit)
    known, unknown = ratings.severities([], NO_ITEMS)
    assert (known.severity, known.standard_error) == (0.5, 0.25)
    assert unknown.ratings == 2 and ratings.shown(unknown.severity) == "-"
    assert ratings.tables([], [unknown, known])[1].columns["reviewer"] == ["R1", "R2"]


def test_severities_that_cannot_be_fitted_are_told():
    with pytest.raises(ValueError, match=r"^severities: ratings\.csv"):
        ratings.severities([], NO_ITEMS)
