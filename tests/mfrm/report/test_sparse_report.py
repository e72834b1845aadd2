"""Tables of a list of ordinal ratings are those of the arrays; five facets at the command line."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.__main__ import main
from dignified_jax.mfrm.report.report import report
from dignified_jax.mfrm.report.sparse_figures import sparse_figures
from dignified_jax.mfrm.report.sparse_report import sparse_report, sparse_summary
from tests.mfrm.dense_ordinal import simulate
from tests.mfrm.sparse.test_ordinal import as_list

pytestmark = pytest.mark.wiring

PAIR = ("judge", "model")
ABSENT = ("halo", "central tendency", "extreme scores", "dimensionality")
FACETS = ("model", "question", "judge", "rubric")


@pytest.fixture(scope="module")
def made():
    """(report of a list, tables of the list, report of the arrays) of scores 2, 3, 4, 6."""
    counts = simulate((4, 6, 5, 3), 4, 0, missing=0.4, by_item=False)
    counts[2, ..., 3] += counts[2, ..., :3].sum(axis=-1)  # a model of highest scores only
    counts[2, ..., :3] = 0
    fit = mfrm.fit(counts, model="rating_scale", method="ridge")
    ratings = as_list(counts, (2, 3, 4, 6))
    arrays = mfrm.OrdinalRatings(counts, ratings.labels, ratings.categories)
    about = mfrm.diagnose(fit, counts, categories=ratings.categories)
    found = sparse_report(fit, ratings, pairs=[PAIR], judge_groups={"some": [0, 2, 4]})
    dense = report(fit, about, arrays, pairs=[PAIR], judge_groups={"some": [0, 2, 4]})
    return found, {table.name: table for table in found.tables}, dense


def test_tables_equal_those_of_the_arrays(made):
    dense = {table.name: table for table in made[2].tables}
    judges = ["agreement", "agreement_pairs", "bias_judge_model", "bias_pairs_judge_model"]
    judges += ["contrasts", "unexpected"]
    for name in [*FACETS, "residuals", "shifts", "categories", "steps", *judges]:
        found, expected = made[1][name].columns, dense[name].columns
        own = {*found} - {"extreme"}
        assert own <= {*expected} and len(own) > 4, name
        assert own >= {*expected} - {"extreme", "displacement"}, name
        for column in own:
            one, other = found[column], expected[column]
            if isinstance(one[0], float):
                np.testing.assert_allclose(one, other, atol=1e-9, err_msg=f"{name}, {column}")
            else:
                assert one == other, (name, column)
    assert made[1]["model"].columns["extreme"] == ["", "", "all highest, adjusted", ""]
    assert made[1]["model"].notes == dense["model"].notes != ()
    assert made[1]["residuals"].notes == dense["residuals"].notes


def test_summary_speaks_of_scores_and_the_method(made):
    lines = sparse_summary(made[0])
    # But for effects and dimensions, what the arrays' verdict says.
    told = [line for line in made[2].verdict if line.split(":")[0] not in ABSENT]
    assert list(made[0].verdict) == told and len(told) >= 3
    assert any("Extreme: model 2 (all highest)" in line for line in lines)
    assert any("by the ridge method: the priors' precisions are given" in line for line in lines)
    assert not any("successes" in line for line in lines)


def test_figures_have_the_scale(made):
    figures = {name: figure for name, _, figure in sparse_figures(made[0])}
    drawn = ["wright_map", "calibration_shift", "fit_plot", "category_curves"]
    assert [*figures] == [*drawn, "bias_judge_model"]
    assert len(figures["calibration_shift"].axes[0].get_yticklabels()) == 4
    *_, scale = figures["wright_map"].axes
    assert scale.get_title() == "score" and "4" in {text.get_text() for text in scale.texts}


@pytest.mark.slow
def test_five_facets_from_the_command_line(tmp_path, capsys):
    rng = np.random.default_rng(0)
    names = ("writer", "task", "rater", "trait", "time")
    places = np.argwhere(rng.random((6, 2, 3, 2, 2)) < 0.7)
    x = np.linspace(-1, 1, 6)[places[:, 0]] - 0.4 * places[:, 4] + rng.logistic(size=len(places))
    score = 1 + (x[:, None] > np.array([-2, -1, 0, 1])).sum(axis=1)
    path = tmp_path / "ratings.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*names, "score"])
        rows.writerows([*place, s] for place, s in zip(places.tolist(), score, strict=True))
    common = [str(path), "--facets", ",".join(names), "--categories", "1", "5"]
    assert main([*common, "--pairs", "rater:time", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "6 writers, 2 tasks, 3 raters, 2 traits, 2 times" in printed
    tables = {
        t["name"]: t for t in json.loads((tmp_path / "out" / "fit.json").read_text())["tables"]
    }
    assert {*names, "steps", "categories", "bias_rater_time"} <= {*tables}
    assert {path.stem for path in (tmp_path / "out").glob("*.png")} == {
        "wright_map",
        "calibration_shift",
        "fit_plot",
        "category_curves",
        "bias_rater_time",
    }
    assert main([*common, "--bootstrap", "9"]) == 1
    assert (
        "--bootstrap is not for --sparse, nor for more than four facets" in capsys.readouterr().err
    )


def test_a_facet_nested_in_the_models_is_known_by_its_prior_only(made):
    """Its levels' errors are those of the prior, and the summary says so."""
    fit, ratings = made[0].fit, made[0].ratings
    group = np.array([0, 0, 1, 1])[ratings.model]
    nested = dataclasses.replace(
        ratings,
        extra={"country": group},
        labels=ratings.labels | {"country": ("here", "there")},
    )
    prior = np.sqrt([0.5, 0.5])
    errors = dataclasses.replace(
        fit.standard_error, rubric=np.concatenate([fit.standard_error.rubric, prior])
    )
    wider = dataclasses.replace(
        fit,
        rubric=np.concatenate([fit.rubric, [0.0, 0.0]]),
        standard_error=errors,
        extreme=dataclasses.replace(fit.extreme, rubric=np.zeros(5, np.int8)),
    )
    told = [
        line
        for line in sparse_summary(dataclasses.replace(made[0], fit=wider, ratings=nested))
        if "tell nothing" in line
    ]
    assert len(told) == 1 and told[0].startswith("country: ")
