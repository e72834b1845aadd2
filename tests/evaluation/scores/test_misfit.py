"""Mean squares and surprising ratings against their formulas, written out."""

import types

import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.evaluation.scores import misfit
from tests.evaluation.scores.conftest import score_rows, simulate

pytestmark = pytest.mark.wiring


@pytest.fixture(scope="module")
def erratic():
    """Scores where judge j2 tosses a coin in dimension A."""
    rng = np.random.default_rng(4)
    return score_rows(
        [
            row | {"score": int(rng.random() < 0.5)}
            if (row["judge"], row["dimension"]) == ("j2", "A")
            else row
            for row in simulate()
        ]
    )


def chances(found):
    """(model, question, judge, rubric) probabilities of the fit."""
    fit = found.fit
    cell = np.asarray(fit.quality) - np.asarray(fit.question)
    logit = cell[:, :, None, None] - np.asarray(fit.judge)[:, None] - np.asarray(fit.rubric)
    return 1 / (1 + np.exp(-logit))


def test_mean_squares(erratic):
    columns = misfit.misfit_table(erratic).columns
    assert columns["of"] == ["A"] * 5 + ["T"] * 5
    assert columns["level"] == ["", "j1", "j2", "A1", "A2", "", "j1", "j2", "T1", "T2"]
    assert columns["facet"][:5] == ["all ratings", "judge", "judge", "item", "item"]
    found = erratic.calibrations.dimensions["A"]
    p = chances(found)
    square, variance = (found.successes - p) ** 2, p * (1 - p)
    for row, axis in ((0, ...), (1, np.s_[:, :, 0]), (2, np.s_[:, :, 1]), (4, np.s_[..., 1])):
        infit = square[axis].sum() / variance[axis].sum()
        outfit = (square[axis] / variance[axis]).mean()
        assert columns["infit"][row] == pytest.approx(infit, abs=1e-4)
        assert columns["outfit"][row] == pytest.approx(outfit, abs=1e-3)
        assert columns["n"][row] == square[axis].size
    assert columns["infit"][2] > columns["infit"][1]  # a coin is noisier than who looks
    assert columns["infit to all"][2] == columns["infit"][2] / columns["infit"][0]
    assert columns["reading"][0] == ""


def test_a_level_with_only_0s_is_not_too_regular():
    """Of a ridge, which keeps it: such levels always fit, and the usual mean square is without."""
    rng = np.random.default_rng(0)
    successes = (rng.random((3, 24, 2, 3)) < 0.6).astype(int)
    successes[..., 2] = 0
    fit = mfrm.fit(successes, method="ridge")
    labels = {"judge": ("j1", "j2"), "rubric": ("A1", "A2", "A3")}
    found = types.SimpleNamespace(
        fit=fit, labels=labels, successes=successes, trials=np.ones_like(successes)
    )
    dimensions = types.SimpleNamespace(dimensions={"A": found})
    columns = misfit.misfit_table(types.SimpleNamespace(calibrations=dimensions)).columns
    assert columns["level"][-1] == "A3" and columns["infit to all"][-1] < 1 / 1.3
    infit_z = mfrm.diagnose(fit, successes).rubric.statistics.infit_zstd
    assert abs(infit_z[2]) > 2 and columns["reading"] == [""] * 6


def test_words_for_what_is_out_of_line():
    assert misfit.reading(1.4, 2.5) == "erratic"
    assert misfit.reading(1.4, 1.9) == ""
    assert misfit.reading(1.2, 2.5) == ""
    assert misfit.reading(0.7, -2.5) == "too regular"
    assert misfit.reading(float("nan"), float("nan")) == ""


def test_surprises(erratic):
    table = misfit.unexpected_table(erratic)
    found = erratic.calibrations.dimensions["A"]
    p = chances(found)
    z = (found.successes - p) / np.sqrt(p * (1 - p))
    count = int((np.abs(z) >= 3).sum())
    assert f"A {count} of {z.size}; T " in table.notes[0]
    own = [place for place, name in enumerate(table.columns["of"]) if name == "A"]
    assert len(own) == min(count, misfit.MOST_UNEXPECTED)
    for place in own:
        labels = {facet: found.labels[facet] for facet in ("model", "question", "judge", "rubric")}
        names = ("model", "question", "judge", "item")
        index = tuple(
            labels[facet].index(table.columns[name][place])
            for facet, name in zip(labels, names, strict=True)
        )
        assert table.columns["z"][place] == pytest.approx(z[index], abs=1e-2)
        assert table.columns["score"][place] == found.successes[index]
        assert table.columns["expected"][place] == pytest.approx(p[index], abs=1e-3)
