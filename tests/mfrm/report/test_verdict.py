"""Sentences of the verdict from figures that are known."""

import math
import warnings

import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.diagnostics.judges.groups import Construct, GroupComparison
from dignified_jax.mfrm.diagnostics.separation import Separation
from dignified_jax.mfrm.report import verdict
from dignified_jax.mfrm.report.report import report, summary

pytestmark = pytest.mark.wiring

LABELS = {"judge": ("ann", "bob", "cid"), "model": ("a", "b", "c")}


def separated(**changed):
    figures = {"levels": 3, "deviation": 1, "rmse": 0.1, "separation": 10.0, "strata": 13.7}
    figures |= {"reliability": 0.99, "chi_square": 300.0, "degrees_of_freedom": 2, "p": 0.0}
    figures |= {"mean": 0.0, "true_deviation": 1.0}
    return Separation(**figures | changed)


def test_there_are_no_more_groups_than_models():
    assert verdict.separation_sentence(separated(), None) == (
        "models are well told apart: reliability 0.99, about 3 distinct groups"
    )
    weak = separated(reliability=0.4, strata=1.3, p=0.03)
    assert verdict.separation_sentence(weak, None).endswith("0.40, about 1 distinct group")


def fitting(infit, zstd, extreme=(False,) * 3):
    return verdict.Fitting(*(np.array(a) for a in (infit, zstd, [90.0, 90, 90], extreme)))


def test_misfit_is_measured_against_those_who_can_misfit():
    """Of a judge with nothing but the highest score every rating is as expected."""
    found = fitting([0.8, 0.1, 0.1], [0.0, -9.0, -9.0], (False, True, True))
    assert verdict.misfit_sentences({"judge": found}, 0.35, LABELS, None) == []
    found = fitting([1.4, 1.0, 0.6], [3.0, 0.0, -3.0])
    told = verdict.misfit_sentences({"judge": found, "model": found}, 1.0, LABELS, None)
    assert [line.split(";")[0] for line in told] == [
        "erratic judges: ann (infit 1.40)",
        "too regular judges: cid (infit 0.60)",
        "erratic models: a (infit 1.40)",
    ]


def test_severity_without_any_estimate():
    told = verdict.severity_sentences(
        np.array([np.inf, 0.0, -2.0]), np.array([np.inf, 1.0, 1.0]), np.array([True, False, True]),
        LABELS["judge"], None,
    )  # fmt: skip
    assert told == [
        "harsh judges: ann (no finite estimate)",
        "mild judges: cid (-2.00 logits, adjusted: no finite estimate)",
    ]


@pytest.mark.parametrize(
    ("found", "interval", "told"),
    [
        (0.97, (0.9, 1.0), "they measure the same of models (correlation freed of errors 0.97"),
        (0.6, (0.4, 0.8), "they measure not the same of models"),
        (0.9, (-1.0, 1.0), "too few ratings to say whether they measure the same of models"),
        (-3881.9, (-1.0, 0.5), "too few ratings to say"),
        (math.nan, (math.nan, math.nan), "too few ratings to say"),
    ],
)
def test_constructs_are_compared_as_far_as_ratings_tell(found, interval, told):
    part = Construct("models", 4, 0.5, (0.5, 0.5), found, *interval)
    one = GroupComparison("a", "b", (0.5, 0.0), 0.5, 0.1, 5.0, 0.0, (part,), "")
    assert verdict._groups([one])[0].startswith(
        f"groups a and b: a is harsher by 0.50 logits; {told}"
    )


def test_nothing_but_extreme_levels():
    """No sentence of infinite logits, and no warning."""
    rows = [
        {"model": m, "question": q, "judge": j, "rubric": "r", "score": int(m == "a")}
        for m in "ab" for q in range(4) for j in "xy"
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ratings = mfrm.from_long(rows)
        counts = ratings.successes, ratings.trials
        fit = mfrm.fit(*counts)
        told = summary(report(fit, mfrm.diagnose(fit, *counts), ratings))
    assert "models: fewer than two have a finite score, so nothing is compared" in told
    assert not any("inf logits" in line or "nan" in line for line in told)


def test_a_ridge_keeps_extreme_judges_out_of_the_effects():
    rng = np.random.default_rng(0)
    successes = rng.integers(0, 2, size=(3, 12, 3, 2))
    successes[:, :, 1], successes[:, :, 2] = 1, 0
    fit = mfrm.fit(successes, np.ones_like(successes), method="ridge")
    effects = mfrm.judge_effects(fit, successes, np.ones_like(successes))
    assert effects.names() == ["", "", ""] and np.isnan(effects.halo[1:]).all()
    assert fit.message == "converged. Extreme: judge 1 (all successes), judge 2 (all failures)."
