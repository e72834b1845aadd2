"""Real ratings against published software: R's glmmTMB, and an explicit dense Newton method."""

import csv

import jax
import numpy as np
import pytest

from dignified_jax import mfrm


def references(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def value_of(fit_part, ratings, facet, level):
    if facet == "quality":
        model, question = level.rsplit(" ", 1)
        place = ratings.labels["model"].index(model), ratings.labels["question"].index(question)
    else:
        place = ratings.labels["model" if facet in ("score", "intercept") else facet].index(level)
    return float(np.asarray(getattr(fit_part, facet))[place])


@pytest.mark.parametrize(
    ("name", "center"),
    [
        ("hanna_llm", "model"),
        pytest.param("hanna_human", "grand", marks=pytest.mark.slow),
        pytest.param("hanna_llm", "grand", marks=pytest.mark.slow),
        pytest.param("hanna_human", "model", marks=pytest.mark.slow),
    ],
)
def test_dense_newton(shared_ratings, name, center):
    ratings = mfrm.from_long(shared_ratings / f"{name}.csv.gz")
    with jax.enable_x64(True):
        fit = mfrm.fit(ratings.successes, ratings.trials, center=center, method="ridge")
    rows = references(shared_ratings / "reference" / f"{name}_ridge1_{center}_dense.csv")
    assert len(rows) > 1000
    for row in rows:
        facet = {"theta": "quality"}.get(row["facet"], row["facet"])
        where = (ratings, facet, row["level"])
        assert abs(value_of(fit, *where) - float(row["est"])) < 1e-8, row
        assert abs(value_of(fit.standard_error, *where) - float(row["se"])) < 1e-8, row


@pytest.mark.parametrize("name", ["hanna_human", pytest.param("hanna_llm", marks=pytest.mark.slow)])
def test_glmm_tmb_and_conditional_likelihood(shared_ratings, name):
    ratings = mfrm.from_long(shared_ratings / f"{name}.csv.gz")
    with jax.enable_x64(True):
        fit = mfrm.fit(ratings.successes, ratings.trials, method="laplace")
    rows = references(shared_ratings / "reference" / f"{name}_laplace_glmmTMB.csv")
    assert len(rows) > 15
    for row in rows:
        where = (ratings, {"model": "intercept"}.get(row["facet"], row["facet"]), row["level"])
        assert abs(value_of(fit, *where) - float(row["est"])) < 1e-3, row
        # Theirs count the uncertainty of the variances too.
        assert 0.96 < value_of(fit.standard_error, *where) / float(row["se"]) < 1.001, row
    _, _, cell_sd, _, question_sd, _, value = rows[0]["extra"].split()
    assert abs(float(fit.log_likelihood) - float(value)) < 1e-2
    np.testing.assert_allclose(float(fit.precision.theta) ** -0.5, float(cell_sd), atol=1e-3)
    np.testing.assert_allclose(float(fit.precision.question) ** -0.5, float(question_sd), atol=1e-3)
    # CML conditions the cells out: judges and items without any assumption on them.
    for row in references(shared_ratings / "reference" / f"{name}_cml_immer.csv"):
        found = value_of(fit, ratings, row["facet"], row["level"])
        assert abs(found - float(row["est"])) < 0.2 * float(row["se"]), row


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hanna_human", "hanna_llm"])
def test_quadrature_against_glmm_tmb(shared_ratings, name):
    """With 18 and 30 ratings a cell Laplace's estimates are near; and theirs are errors that
    count the variances as estimated, which those of quadrature equal."""
    ratings = mfrm.from_long(shared_ratings / f"{name}.csv.gz")
    fit = mfrm.fit(ratings.successes, ratings.trials)
    for row in references(shared_ratings / "reference" / f"{name}_laplace_glmmTMB.csv"):
        where = (ratings, {"model": "intercept"}.get(row["facet"], row["facet"]), row["level"])
        assert abs(value_of(fit, *where) - float(row["est"])) < 2e-3, row
        assert 0.999 < value_of(fit.standard_error, *where) / float(row["se"]) < 1.01, row
