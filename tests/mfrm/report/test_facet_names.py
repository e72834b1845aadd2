"""Tables in the user's words for the facets."""

import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.console.table import Table
from dignified_jax.mfrm.report.facet_names import file_name, rename, role, say
from dignified_jax.mfrm.report.options import facets, pair
from dignified_jax.mfrm.report.report import status
from dignified_jax.mfrm.report.verdict import severity_sentences

pytestmark = pytest.mark.wiring

NAMES = {"model": "writer", "judge": "se", "rubric": "the/trait"}


def test_names_columns_titles_and_notes():
    table = Table(
        "bias_judge_model",
        "bias of judge by model",
        {"judge": ["model"], "model": ["judge"], "se": [1.0], "facet": ["rubric"]},
        notes=("judges who follow the model",),
    )
    found = rename(table, NAMES)
    assert found.name == "bias_se_writer" and found.title == "bias of se by writer"
    # Labels stay; a name that a column has already is told apart.
    assert found.columns == {
        "se (facet)": ["model"], "writer": ["judge"], "se": [1.0], "facet": ["the/trait"],
    }  # fmt: skip
    assert found.notes == ("ses who follow the model",)
    assert rename(table, {}) is table
    assert file_name("rubric", NAMES) == "the-trait"
    assert say("modelled by a model", NAMES) == "modelled by a writer"
    assert role("writer", NAMES) == "model" and role("question", NAMES) == "question"


def test_extreme_levels_by_the_names_of_their_facets():
    rng = np.random.default_rng(0)
    rows = [
        {
            "writer": f"w{w}",
            "task": t,
            "rater": r,
            "score": int(r == "ann" or rng.random() > 0.4),
        }
        for w in range(3)
        for t in range(12)
        for r in ("ann", "bob", "model")
    ]
    ratings = mfrm.from_long(rows, facets=("writer", "task", "rater"))
    fit = mfrm.fit(ratings.successes, ratings.trials)
    told = status(fit, ratings)
    assert told.startswith("converged, but a rater or rubric item has only successes")
    assert told.endswith(" Extreme: rater ann (all successes).")
    assert "judge" not in told
    about = mfrm.diagnose(fit, ratings.successes, ratings.trials)
    measures = about.judge.measure, about.judge.standard_error, np.isinf(fit.judge)
    *_, mild = severity_sentences(*measures, ratings.labels["judge"], ratings.names)
    adjusted = float(about.judge.measure[0])
    assert np.isfinite(adjusted)
    assert mild == f"mild raters: ann ({adjusted:+.2f} logits, adjusted: no finite estimate)"


def test_options():
    assert pair("se:writer", NAMES) == ("judge", "model")
    with pytest.raises(ValueError, match="expected two of writer, se, the/trait as A:B"):
        pair("se:judges", NAMES)
    assert facets("a, b,c", "c", "a") == ["c", "a", "b"]
    assert facets("a,b,c", None, "-") == ["a", "-", "b", "c"]
    with pytest.raises(ValueError, match="--random: expected one of a, b, found 'x'"):
        facets("a,b", None, "x")
