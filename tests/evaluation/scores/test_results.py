"""Scores of dimensions and groups, their errors, and what they are compared with."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from dignified_jax import mfrm
from dignified_jax.evaluation.scores import calibration, plain, ratings, results, tables
from dignified_jax.evaluation.scores.calibration import ScoresError
from dignified_jax.evaluation.scores.friedman import friedman
from tests.evaluation.scores.conftest import MODELS, QUESTIONS, score_rows, simulate

pytestmark = pytest.mark.wiring


def table_of(rows, dimension):
    """(model, question, judge, item) scores, by hand."""
    own = [row for row in rows if row["dimension"] == dimension]
    axes = [sorted({row[key] for row in own}) for key in ("model", "question", "judge", "rubric")]
    values = np.full([len(axis) for axis in axes], np.nan)
    for row in own:
        place = [
            axes[i].index(row[k]) for i, k in enumerate(("model", "question", "judge", "rubric"))
        ]
        values[tuple(place)] = row["score"]
    return values


def test_raw_and_z_by_hand(scores):
    values = table_of(simulate(), "A")
    raw = values.mean(axis=(2, 3))
    measure = scores.measures["A"]["raw"]
    np.testing.assert_allclose(measure.cells, raw)
    np.testing.assert_allclose(measure.value, raw.mean(axis=1))
    np.testing.assert_allclose(measure.error, raw.std(axis=1, ddof=1) / np.sqrt(QUESTIONS))
    assert measure.n.tolist() == [QUESTIONS] * 3
    by_judge = values.mean(axis=3)
    z = (by_judge - by_judge.mean(axis=(0, 1))) / by_judge.std(axis=(0, 1))
    np.testing.assert_allclose(scores.measures["A"]["z"].cells, z.mean(axis=2))


def test_mfrm_scores_are_those_of_a_fit_of_the_dimension(scores):
    values = table_of(simulate(), "T")
    fit = mfrm.fit(values.astype(int), method="laplace")
    np.testing.assert_allclose(scores.measures["T"]["mfrm"].value, fit.score, atol=1e-4)
    order = np.argsort(scores.measures["T"]["mfrm"].value)
    assert order.tolist() == [0, 1, 2]  # as they were made


def test_a_group_is_the_mean_and_its_error_knows_that_dimensions_vary_together(scores, same_scores):
    for found in (scores, same_scores):
        parts = [found.measures[name]["mfrm"].value for name in "AT"]
        np.testing.assert_allclose(found.measures["Dignity"]["mfrm"].value, np.mean(parts, axis=0))
    same = same_scores.measures
    # T is A over again: the mean of the two is no better known than either.
    np.testing.assert_allclose(same["T"]["mfrm"].value, same["A"]["mfrm"].value, atol=1e-5)
    np.testing.assert_allclose(same["Dignity"]["mfrm"].error, same["A"]["mfrm"].error, rtol=1e-3)
    apart = scores.measures
    independent = np.hypot(apart["A"]["mfrm"].error, apart["T"]["mfrm"].error) / 2
    assert np.all(apart["Dignity"]["mfrm"].error < 1.6 * independent)
    np.testing.assert_allclose(
        apart["Dignity"]["mfrm"].error,
        np.std((scores.replicates["A"] + scores.replicates["T"]) / 2, axis=0, ddof=1),
    )


@pytest.mark.parametrize("ties", [False, True])
def test_friedman_is_scipys(ties):
    rng = np.random.default_rng(1)
    cells = rng.normal(size=(4, 15)) + np.arange(4)[:, None] * 0.3
    cells = np.round(cells) if ties else cells
    expected = stats.friedmanchisquare(*cells)
    found = friedman(np.concatenate([cells, np.full((4, 1), np.nan)], axis=1))
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert (found.degrees, found.questions) == (3, 15)


def test_friedman_of_two_models_and_of_none():
    cells = np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0, 5.0]])
    found = friedman(cells)  # ranks sums 7 and 5: 12 / (4 * 2 * 3) * (49 + 25) - 3 * 4 * 3
    assert found.statistic == pytest.approx(1.0)
    assert np.isnan(friedman(np.zeros((3, 5))).statistic)
    assert np.isnan(friedman(np.full((3, 5), np.nan)).p)


@pytest.mark.slow
def test_change_of_a_copy_is_zero_without_error():
    rows = simulate()
    copies = [row | {"model": "copy"} for row in rows if row["model"] == "m2"]
    scores = score_rows(rows + copies)
    before, after = (scores.models.index(name) for name in ("m2", "copy"))
    for name in ("A", "T", "Dignity"):
        found = results.delta(scores, name, before, after)
        assert found.change == pytest.approx(0.0, abs=1e-4)
        assert found.error < 1e-3
        assert np.isnan(found.p) or found.error > 1e-5
        assert found.n == QUESTIONS
    moved = results.delta(scores, "A", scores.models.index("m1"), scores.models.index("m3"))
    pairs = scores.replicates["A"]
    assert moved.change > 0
    assert moved.error == pytest.approx((pairs[:, 3] - pairs[:, 1]).std(ddof=1))
    assert moved.p < 0.01


def test_correlations(scores, same_scores):
    over, error, n = results.correlations(scores, "raw")
    cells = [scores.measures[name]["raw"].cells.ravel() for name in "AT"]
    assert over[0, 1] == pytest.approx(np.corrcoef(cells)[0, 1])
    assert n == len(MODELS) * QUESTIONS
    assert 0.03 < error[0, 1] < 0.3
    assert results.correlations(same_scores)[0][0, 1] == pytest.approx(1.0, abs=1e-5)
    assert results.model_correlations(same_scores)[0][0, 1] == pytest.approx(1.0, abs=1e-5)


def test_what_is_not_rated_is_left_out_and_told():
    rows = [
        row
        for row in simulate()
        if not (row["question"] == "q00" and row["dimension"] == "T")
        and not (row["model"] == "m3" and row["dimension"] == "T")
        and not (row["judge"] == "j2" and row["dimension"] == "T")
    ]
    scores = score_rows(rows)
    assert (
        "1 questions without ratings in every dimension are left out" in scores.calibrations.notes
    )
    assert "T: no ratings of model m3" in scores.calibrations.notes
    assert "T: no ratings of judge j2" in scores.calibrations.notes
    assert np.isnan(scores.measures["T"]["mfrm"].value).tolist() == [False, False, True]
    assert np.isnan(scores.measures["Dignity"]["mfrm"].value).tolist() == [False, False, True]
    assert np.isnan(scores.measures["Dignity"]["raw"].value).tolist() == [False, False, True]


def test_tables_of_everything(scores):
    made = tables.all_tables(scores, "m1")
    assert set(made) == {
        *("groups", "friedman", "dimensions", "changes", "ranks", "severities", "difficulties"),
        *("preference", "sensitivity", "correlations", "misfit", "unexpected"),
    }
    for table in made.values():
        assert len({len(values) for values in table.columns.values()}) == 1
        assert table.text()
        assert "n" in table.columns
    severity = made["severities"].columns
    assert severity["judge"] == ["j1", "j2"] * 2
    assert sum(severity["measure"][:2]) == pytest.approx(0.0, abs=1e-4)
    assert severity["measure"][1] > severity["measure"][0]
    assert made["sensitivity"].columns["severity"][0] == pytest.approx(
        2 * severity["measure"][0], abs=1e-3
    )
    assert made["preference"].columns["own"] == [""] * 12
    with pytest.raises(ValueError, match="baseline: expected one of m1, m2, m3, found 'm9'"):
        tables.delta_table(scores, "m9")


def test_a_judge_of_its_own_answers_is_marked():
    renamed = {"j1": "m1", "j2": "j2"}
    rows = [row | {"judge": renamed[row["judge"]]} for row in simulate()]
    columns = tables.preference_table(score_rows(rows)).columns
    own = [
        (judge, model)
        for judge, model, mark in zip(
            columns["judge"], columns["model"], columns["own"], strict=True
        )
        if mark
    ]
    assert own == [("m1", "m1")] * 2


def test_dimensions_come_from_the_table_the_rubric_or_are_one(rubric):
    rows = simulate()
    assert dict(ratings.read_ratings(rows).dimension_of) == {
        "A1": "A",
        "A2": "A",
        "T1": "T",
        "T2": "T",
    }
    bare = [{k: v for k, v in row.items() if k != "dimension"} for row in rows]
    found = ratings.read_ratings(bare, rubric)
    assert list(found.dimension_of.values()) == ["A", "A", "T", "T"]
    assert set(ratings.read_ratings(bare).dimension_of.values()) == {"score"}
    other = [row | {"rubric": "Z" + row["rubric"]} for row in bare]
    assert set(ratings.read_ratings(other, rubric).dimension_of.values()) == {"score"}
    rows[0]["dimension"] = "T"
    with pytest.raises(ScoresError, match="A1: expected one dimension, found T and A"):
        ratings.read_ratings(rows)
    # Other software turns whole numbers into floats, and leaves blanks as None or NaN.
    numbered = [row | {"rubric": float("AT".index(row["rubric"][0]))} for row in simulate()]
    assert dict(ratings.read_ratings(numbered).dimension_of) == {"0": "A", "1": "T"}
    for blank in (None, float("nan"), " "):
        numbered[-1]["dimension"] = blank
        with pytest.raises(ScoresError, match="item 1: expected a dimension in every row"):
            ratings.read_ratings(numbered)


def test_no_question_in_common_is_refused():
    rows = [row for row in simulate() if (row["question"] < "q12") == (row["dimension"] == "A")]
    found = ratings.read_ratings(rows)
    with pytest.raises(ScoresError, match="no question has ratings in every dimension"):
        calibration.calibrate(found.ratings, found.dimension_of)


def test_parts_that_nothing_joins_are_named():
    """By their labels, as whoever reads it knows no numbers."""
    rows = [row for row in simulate() if (row["judge"] == "j1") == (row["model"] == "m1")]
    found = ratings.read_ratings(rows)
    with pytest.raises(ScoresError, match=r"^dimension A: .*; judge: j1 \| j2") as error:
        calibration.calibrate(found.ratings, found.dimension_of, replicates=2)
    assert "model: m1 | m2, m3" in str(error.value)


def test_one_judge_alone():
    scores = score_rows([row for row in simulate() if row["judge"] == "j1"])
    made = tables.all_tables(scores, "m1")
    assert not {"sensitivity", "preference", "severities"} & set(made)
    why = made["unavailable"].columns
    assert why["what"] == [
        "severities, biases of judges for models, what a judge's absence changes"
    ]
    assert why["why"] == ["they compare judges, and there is one"]
    assert np.isfinite(scores.measures["A"]["mfrm"].value).all()


def test_z_scores_of_a_judge_without_spread_are_zero(scores):
    found = scores.calibrations.dimensions["A"]

    successes = found.successes.copy()
    successes[:, :, 0] = 1
    flat = plain.z_scores(dataclasses.replace(found, successes=successes))
    shares = found.successes[:, :, 1].mean(axis=-1)
    np.testing.assert_allclose(flat, (shares - shares.mean()) / shares.std() / 2)


def test_a_model_with_only_successes():
    rows = [row | {"score": 1} if row["model"] == "m1" else row for row in simulate()]
    found = ratings.read_ratings(rows)
    scores = score_rows(rows)
    assert scores.measures["A"]["mfrm"].value[0] == np.inf
    assert np.isnan(scores.measures["A"]["mfrm"].error[0])
    assert results.delta(scores, "A", 0, 1).change == -np.inf
    assert tables.all_tables(scores, "m1")["dimensions"].columns["Dignity"][0] == np.inf
    fits = calibration.calibrate(found.ratings, found.dimension_of, center="grand", replicates=4)
    value = results.score(fits, {}).measures["A"]["mfrm"].value
    assert np.isfinite(value).all()
    assert value.argmax() == 0
