"""What too few levels rule out, told with its reason; and nothing where there is enough."""

import dataclasses

import numpy as np
import pytest

from dignified_jax.evaluation.scores.friedman import friedman
from dignified_jax.evaluation.scores.results import Measure
from dignified_jax.evaluation.scores.unavailable import unavailable_table

pytestmark = pytest.mark.wiring


def lines(scores):
    columns = unavailable_table(scores).columns
    return list(zip(columns["what"], columns["of"], columns["why"], strict=True))


def with_measure(scores, name, change):
    """Scores whose MFRM measure of a dimension has other values."""
    measures = {key: dict(kinds) for key, kinds in scores.measures.items()}
    measures[name]["mfrm"] = change(measures[name]["mfrm"])
    return dataclasses.replace(scores, measures=measures)


def first(measure, value, error):
    values, errors = measure.value.copy(), measure.error.copy()
    values[0], errors[0] = value, error
    return dataclasses.replace(measure, value=values, error=errors)


def test_nothing_is_lacking(scores):
    assert lines(scores) == []


def test_a_single_model(scores):
    def cut(m):
        cells = m.cells[:1]
        return Measure(m.value[:1], m.error[:1], m.n[:1], cells, friedman(cells))

    measures = {
        name: {kind: cut(m) for kind, m in kinds.items()} for name, kinds in scores.measures.items()
    }
    found = lines(dataclasses.replace(scores, models=("m1",), measures=measures))
    assert found == [
        (
            "changes, Friedman tests, rank correlations, biases of judges for models",
            "all",
            "they compare models, and there is one",
        ),
        ("Z-scores", "all", "they are relative to the mean of all responses: a lone model is 0"),
    ]


def test_a_single_question(scores):
    fits = dataclasses.replace(scores.calibrations, questions=("q00",))
    ((what, of, why),) = lines(dataclasses.replace(scores, calibrations=fits))
    assert what == "standard errors of scores, changes and correlations; Friedman tests"
    assert (of, why) == ("all", "they come from how questions differ, and there is one")


def test_models_without_a_finite_score(scores):
    cases = {
        (np.nan, np.nan): (
            *("score of m1", "A"),
            "the fit failed, as the notes say; scoring.method=ridge gives every level a prior",
        ),
        (np.inf, np.nan): (
            *("finite score of m1", "A"),
            "its ratings are all 1s, so the score is infinite; scoring.center=grand keeps it "
            "finite",
        ),
        (1.0, np.nan): (
            *("standard error of the score of m1", "A"),
            "fewer than two samples of questions give a finite score",
        ),
    }
    for values, line in cases.items():
        changed = with_measure(scores, "A", lambda m, v=values: first(m, *v))
        assert lines(changed) == [line]

    def unrated(measure):
        return dataclasses.replace(first(measure, np.nan, np.nan), n=np.zeros(3, int))

    changed = with_measure(scores, "A", unrated)
    assert lines(changed) == [("score of m1", "A", "it has no ratings there")]
