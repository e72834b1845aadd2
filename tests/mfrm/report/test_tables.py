"""Tables: aligned text, CSV and JSON that read back, labels and odd values."""

import csv
import io
import json

import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.report.tables import Table, _numbers

pytestmark = pytest.mark.wiring

TABLE = Table(
    "t",
    "a title",
    {
        "who": ["b", "a, b", 3],
        "n": [5, 12, 7],
        "x": [0.123456, float("nan"), -0.001],
        "p": [1e-9, 0.25, float("inf")],
    },
)


def test_text_is_aligned():
    assert TABLE.text().split("\n") == [
        "a title",
        "who    n     x        p",
        "b      5  0.12  <0.0001",
        "a, b  12     -   0.2500",
        "3      7  0.00      inf",
    ]


def test_long_tables_show_both_ends():
    table = Table("t", "title", {"n": list(range(100))})
    assert [line.strip() for line in table.text(5).split("\n")[2:]] == [
        "0", "1", "2", "...", "98", "99",
    ]  # fmt: skip
    assert len(table.text(100).split("\n")) == 102


def test_csv_reads_back():
    rows = list(csv.DictReader(io.StringIO(TABLE.csv())))
    assert rows[1] == {"who": "a, b", "n": "12", "x": "", "p": "0.25"}
    assert float(rows[0]["x"]) == 0.123456 and float(rows[2]["p"]) == float("inf")


def test_json_is_valid_and_has_null_for_what_is_not_finite():
    found = json.loads(json.dumps(TABLE.json(), allow_nan=False))
    assert found["columns"]["x"] == [0.123456, None, -0.001]
    assert found["columns"]["p"] == [1e-9, 0.25, None]
    assert found["columns"]["who"] == ["b", "a, b", 3]


def test_sorted_with_missing_last():
    assert TABLE.sorted_by("x").columns["n"] == [7, 5, 12]
    assert TABLE.sorted_by("x", descending=True).columns["n"] == [5, 7, 12]


def test_float32_is_written_shortly_and_exactly():
    values = np.array([0.1, 1e-8, 123456.7], np.float32)
    found = _numbers(values)
    assert found == [0.1, 1e-08, 123456.7]
    np.testing.assert_array_equal(np.array(found, np.float32), values)


@pytest.fixture(scope="module")
def tables(plan):
    successes, trials = (array.copy() for array in plan)
    successes[1] = trials[1]
    trials[2, :, 1] = successes[2, :, 1] = 0
    anchors = {"judge": np.array([0.5, np.nan, -0.2]), "question": np.zeros(8)}
    labels = {
        "model": ("m1", "m2", "m3", "m4"),
        "question": tuple(range(8)),
        "judge": ("x", "y", "z"),
        "rubric": (None,) * 2,
    }
    fit = mfrm.fit(successes, trials, anchors=anchors, method="laplace")
    about = mfrm.diagnose(fit, successes, trials, anchors=anchors)
    made = {
        facet: mfrm.tables.measure_table(fit, about, labels, facet)
        for facet in ("model", "question", "judge", "rubric")
    }
    made["facets"] = mfrm.tables.separation_table(about)
    made["cells"] = mfrm.tables.cell_table(fit, about, labels)
    bias = mfrm.interactions(fit, successes, trials)
    made["bias"] = mfrm.tables.bias_table(bias, labels, ("judge", "model"))
    return fit, about, bias, made


def test_measure_tables_hold_the_fit(tables):
    fit, about, _, made = tables
    judge = made["judge"].columns
    assert judge["judge"] == ["x", "y", "z"]
    np.testing.assert_allclose(judge["measure"], fit.judge, rtol=1e-6)
    np.testing.assert_allclose(judge["se"], fit.standard_error.judge, rtol=1e-6)
    np.testing.assert_allclose(judge["infit"], about.judge.statistics.infit, rtol=1e-6)
    assert np.isnan(judge["displacement"][1]) and np.isfinite(judge["displacement"][0])
    model = made["model"].columns
    assert "displacement" not in model
    assert model["extreme"] == ["", "all successes, adjusted", "", ""]
    assert 2 < model["measure"][1] < 20 and np.isnan(model["infit"][1])
    assert made["model"].summary()["ratings"][0] == np.mean(model["ratings"])
    assert made["rubric"].columns["rubric"] == ["(all)", "(all)"]


def test_cells_are_in_the_order_of_their_labels(tables):
    fit, _, _, made = tables
    cells = made["cells"].columns
    row = 2 * 8 + 5
    assert (cells["model"][row], cells["question"][row]) == ("m3", 5)
    np.testing.assert_allclose(cells["quality"][row], fit.quality[2, 5], rtol=1e-6)


def test_bias_table_leaves_unrated_pairs_out_and_begins_with_the_surest(tables):
    _, _, bias, made = tables
    table = made["bias"]
    pairs = list(zip(table.columns["judge"], table.columns["model"], strict=True))
    assert table.rows == 11 and ("y", "m3") not in pairs
    known = np.abs(table.columns["z"])[:8]
    assert (np.diff(known) <= 0).all()
    assert np.isnan(table.columns["z"][8:]).all()  # of the infinite model
    first = ("x", "y", "z").index(pairs[0][0]), ("m1", "m2", "m3", "m4").index(pairs[0][1])
    np.testing.assert_allclose(table.columns["bias"][0], bias.bias[first], rtol=1e-6)


def test_separation_of_anchored_facets(tables):
    columns = tables[3]["facets"].columns
    assert columns["facet"] == ["model", "question", "judge", "rubric"]
    assert columns["levels"] == [3, 0, 1, 2]
    assert np.isnan(columns["separation"][1]) and np.isfinite(columns["p"][0])
