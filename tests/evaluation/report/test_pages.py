"""The report's pages: every text is shown as it is, nothing is fetched, and numbers have errors."""

import dataclasses
import html
import json
import re

import numpy as np
import pytest

from dignified_jax.console.table import Table
from dignified_jax.evaluation.judging import judgments
from dignified_jax.evaluation.judging.judgments import Judge, Missing, Verdict
from dignified_jax.evaluation.report import (
    cells,
    contents,
    figures,
    html_page,
    markdown,
    responses_page,
)
from dignified_jax.evaluation.responses import Response
from dignified_jax.evaluation.scores import tables
from tests.evaluation.scores.conftest import score_rows, simulate

pytestmark = pytest.mark.wiring

pytest.importorskip("plotly")

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)> | `x` **b** \u202e"


@pytest.fixture(scope="module")
def report():
    """Contents with an evil name in every place."""
    renamed = {"m1": EVIL, "m2": "m2", "m3": "m3"}
    rows = [row | {"model": renamed[row["model"]]} for row in simulate()]
    scores = score_rows(rows)
    judges = [Judge("j1", "rules", "aa"), Judge(EVIL, "endpoint", "bb")]
    own = [
        *tables.all_tables(scores, "m2").values(),
        contents.judge_table(judges, {"j1": 5}),
        contents.missing_table([Missing("m", "q", EVIL, "A1", EVIL)] * 2),
    ]
    return contents.Contents(
        title=EVIL,
        warnings=contents.judge_warnings(judges, {"j1": 5, EVIL: 5}),
        notes=[EVIL],
        scores=scores,
        tables=own,
        configuration={"workdir": EVIL, "judging": {"items_per_call": 12}},
        inputs={EVIL: "abc"},
    )


@pytest.fixture(scope="module")
def page(report):
    return html_page.page(report, "m2", "responses.html")


def without_scripts(page):
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_no_text_is_markup(page):
    assert "<script>alert(1)" not in page
    assert "<img" not in without_scripts(page)
    assert "\u202e" not in page
    shown = html.escape(EVIL.replace("\u202e", "\\u202e"))
    assert without_scripts(page).count(shown) > 5


def test_figures_are_json_that_ends_nothing(page, report):
    found = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert len(found) == len(figures.figures(report.scores, "m2")) >= 5
    for text in found:
        assert set(json.loads(text)) >= {"data", "layout"}
        assert not set("<>&") & set(text)
    names = [trace.get("name") or "" for text in found for trace in json.loads(text)["data"]]
    assert not [name for name in names if "<" in name]  # Plotly reads names as markup


def test_names_of_dimensions_are_no_markup(report):
    """Those of a table of ratings may be any text."""
    names = {"A": "<b>A</b>", "T": "T<5 & <a href='x'>"}

    def renamed(values):
        return {names.get(name, name): value for name, value in values.items()}

    scores, found = report.scores, report.scores.calibrations
    hostile = dataclasses.replace(
        scores,
        dimensions=tuple(names.values()),
        groups={},
        measures=renamed(scores.measures),
        replicates=renamed(scores.replicates),
        calibrations=dataclasses.replace(found, dimensions=renamed(found.dimensions)),
    )
    drawn = figures.figures(hostile, "m2").values()
    texts = [json.dumps(json.loads(figure.to_json())["data"]) for figure in drawn]
    assert len(texts) >= 5 and not [text for text in texts if "<" in text]
    assert any("T&lt;5 &amp; " in text for text in texts)


def test_axes_of_names_take_them_for_no_numbers(report):
    """Dimensions of a table of ratings may be called 1, 2 and 3."""
    scores = report.scores
    axes = [figures.heatmap(scores).layout.xaxis, figures.heatmap(scores).layout.yaxis]
    axes += [figures.bars(scores).layout.xaxis, figures.changes(scores, "m2").layout.xaxis]
    axes.append(figures.radar(scores).layout.polar.angularaxis)
    assert [axis.type for axis in axes] == ["category"] * 5


def test_wide_tables_are_reached_by_the_keyboard_and_have_a_name(page):
    opened = re.findall(r'<div class="wide"[^>]*>', page)
    assert len(opened) > 5
    assert all(re.search(r'role="region" aria-label="[^"]+" tabindex="0"', each) for each in opened)
    assert "<th>" not in page and page.count('<th scope="col"') > 10


def test_nothing_is_fetched(page):
    own = without_scripts(page)
    assert "default-src 'none'" in own
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!responses\.html)""", own)
    assert "@import" not in own
    assert "url(" not in own


def test_warnings_stand_first(page, report):
    assert "Judged by rules: word lists and counts, no model" in report.warnings[0]
    body = page[page.index("<body>") :]
    assert body.index("Judged by rules") < body.index("<table>")
    assert contents.judge_warnings([Judge("x", "model", "")], {"x": 1}) == []


def test_every_score_has_its_error_and_n(report):
    table = next(table for table in report.tables if table.name == "dimensions")
    headings, rows, numeric = cells.shown(table)
    assert headings == ["model", "A", "T", "Dignity", "n"]
    assert numeric == [False, True, True, True, True]
    for row in rows:
        assert all(re.fullmatch(r"\u2212?\d+\.\d\d \u00b1 \d+\.\d\d", cell) for cell in row[1:4])
        assert row[4] == "24"


def test_cells():
    values = {"x": [1.0, float("inf"), float("nan"), -0.5], "x se": [0.25, float("inf"), 1.0, 0.1]}
    table = Table(name="t", title="t", columns=values | {"p": [0.5, 1e-9, float("nan"), 0.01]})
    headings, rows, _ = cells.shown(table)
    assert headings == ["x", "p"]
    assert rows == [
        ["1.00 \u00b1 0.25", "0.5000"],
        ["\u221e", "<0.0001"],
        ["\u2013 \u00b1 1.00", "\u2013"],
        ["\u22120.50 \u00b1 0.10", "0.0100"],
    ]


def test_markdown_shows_the_same(report):
    text = markdown.page(report)
    lines = text.split("\n")
    assert lines[0].startswith("# \\</script\\>\\<script\\>alert\\(1\\)")
    outside = re.sub(r"```yaml.*?\n```", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)[<>`]", outside.replace("> **", "").replace("`abc`", ""))
    assert "\u202e" not in text
    for line in lines:
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) >= 2
    widths = {
        len(re.findall(r"(?<!\\)\|", line))
        for line in lines[lines.index("## Inputs") :]
        if line.startswith("|")
    }
    assert widths == {3}
    assert "items_per_call: 12" in text
    assert "\u00b1" in text


def test_responses_page_holds_text_as_data(rubric):
    responses = [Response(EVIL, f"q{i}", EVIL, EVIL * (i + 1)) for i in range(2)]
    judge = Judge(EVIL, "rules", "aa")
    verdicts = {judge: {(responses[0].hash, item.name): Verdict(1) for item in rubric.items}}
    table, _ = judgments.tabulate(responses, rubric, verdicts)
    page = responses_page.page(EVIL, [EVIL], responses, table)
    assert "<script>alert(1)" not in page
    assert "innerHTML" not in page
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1]
    found = json.loads(text)
    assert found["models"] == [EVIL]
    assert [entry["text"] for entry in found["responses"]] == [EVIL, EVIL * 2]
    assert found["responses"][0]["judgments"] == {EVIL: {i.name: 1 for i in rubric.items}}
    assert found["responses"][1]["judgments"] == {}


def test_a_page_of_responses_has_an_end(rubric, monkeypatch):
    monkeypatch.setattr(responses_page, "MOST_CHARACTERS", 50)
    responses = [Response("m", f"q{i}", "p" * 10, "t" * 10) for i in range(5)]
    table, _ = judgments.tabulate(responses, rubric, {})
    page = responses_page.page("t", [], responses, table)
    assert "3 further responses are left out" in page


def test_one_model_and_one_dimension_have_a_report():
    rows = [r for r in simulate() if r["model"] == "m1" and r["dimension"] == "A"]
    scores = score_rows(rows)
    drawn = figures.figures(scores, "m1")
    assert set(drawn) == {
        *("Scores, with standard errors", "Wright map of A"),
        "Calibration shift: raw and calibrated measures",
    }
    report = contents.Contents(
        "t", [], [], scores, list(tables.all_tables(scores, "m1").values()), {}, {}
    )
    assert "Wright map of A" in html_page.page(report, "m1")


def test_neighbours_on_a_map_have_their_names_on_different_sides():
    found = figures.label_sides(np.array([0.3, -1.0, 0.31, 0.32, np.inf, np.inf]), 0.1)
    assert found == ["middle right", "middle right", "middle left", *["middle right"] * 3]
