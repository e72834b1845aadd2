"""A small table of ratings in two dimensions, scored."""

import numpy as np
import pytest

from dignified_jax.evaluation.scores import calibration, ratings, results

MODELS, QUESTIONS, JUDGES = ("m1", "m2", "m3"), 24, ("j1", "j2")
ITEMS = {"A1": "A", "A2": "A", "T1": "T", "T2": "T"}


def simulate(seed=0, same=False):
    """Rows of a table; with `same`, T is judged as A is."""
    rng = np.random.default_rng(seed)
    rows = []
    for m, model in enumerate(MODELS):
        for q in range(QUESTIONS):
            quality = rng.normal(0.8 * m - 0.8, 0.7, size=2)
            for j, judge in enumerate(JUDGES):
                drawn = {}
                for item, dimension in ITEMS.items():
                    logit = quality["AT".index(dimension)] - (j - 0.5) - 0.5 * int(item[1]) + 0.5
                    drawn[item] = int(rng.random() < 1 / (1 + np.exp(-logit)))
                    if same and dimension == "T":
                        drawn[item] = drawn["A" + item[1]]
                    row = {"model": model, "question": f"q{q:02d}", "judge": judge}
                    rows.append(
                        row | {"rubric": item, "score": drawn[item], "dimension": dimension}
                    )
    return rows


def score_rows(rows, groups=None):
    found = ratings.read_ratings(rows)
    # Laplace's method compiles in less time than the default.
    fits = calibration.calibrate(found.ratings, found.dimension_of, method="laplace", replicates=30)
    return results.score(fits, {"Dignity": ("A", "T")} if groups is None else groups)


@pytest.fixture(scope="session")
def scores():
    return score_rows(simulate())


@pytest.fixture(scope="session")
def same_scores():
    return score_rows(simulate(same=True))
