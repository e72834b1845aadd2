"""Reports of few or strange ratings, whole: each says what it can't compute, and why."""

import csv
import json
import re

import numpy as np
import pytest

from dignified_jax.evaluation import chain, config

pytestmark = pytest.mark.wiring

pytest.importorskip("plotly")

LONG = "a-model-with-a-name-that-goes-on-" * 12
ODD = ("模型甲", "<b>bold</b> & <script>alert(1)</script>", LONG + "1", LONG + "2")


def rows_of(models=("m1", "m2"), questions=6, judges=("j1", "j2"), dimensions="AT", items=2):
    """Rows of ratings with some spread."""
    rng = np.random.default_rng(0)
    return [
        {
            **{"model": model, "question": f"q{q}", "judge": judge},
            **{"rubric": f"{d}{i}", "dimension": d},
            "score": int(rng.random() < 0.35 + 0.3 * (m % 2) + 0.1 * j),
        }
        for m, model in enumerate(models)
        for q in range(questions)
        for j, judge in enumerate(judges)
        for d in dimensions
        for i in range(items)
    ]


def always_one():
    return [row | {"score": 1} if row["judge"] == "j2" else row for row in rows_of()]


def all_ones():
    return [row | {"score": 1} for row in rows_of()]


def report(rows, directory):
    """The report as Markdown without escapes, and its page."""
    file = directory / "ratings.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    fields = {"ratings": str(file), "workdir": str(directory / "run")}
    page = chain.run(config.parse(fields | {"scoring": {"replicates": 6}}), print)
    text = (page.parent / "report.md").read_text(encoding="utf-8")
    return re.sub(r"\\(.)", r"\1", text), page.read_text(encoding="utf-8")


CASES = {
    "one model": (
        rows_of(models=("m1",)),
        ["they compare models, and there is one"],
    ),
    "one judge": (
        rows_of(judges=("j1",)),
        ["they compare judges, and there is one"],
    ),
    "one question": (
        rows_of(questions=1),
        ["they come from how questions differ, and there is one"],
    ),
    "one dimension": (rows_of(dimensions="A"), ["there is one dimension"]),
    "one item": (rows_of(items=1), ["they compare items, and there is one"]),
    "one response": (
        rows_of(models=("m1",), questions=1),
        ["they compare models, and there is one", "how questions differ, and there is one"],
    ),
    "a judge that always says 1": (
        always_one(),
        [
            "finite severity of judge j2 | A | its ratings are all 1s; scoring.method=ridge",
            "Extreme: judge j2 (all successes)",
        ],
    ),
    "nothing but 1s": (
        all_ones(),
        ["finite score of m1 | all | its ratings are all 1s, so the score is infinite"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_says_what_is_lacking(case, tmp_path):
    rows, sentences = CASES[case]
    text, page = report(rows, tmp_path)
    for sentence in sentences:
        assert sentence in text
    assert not re.search(r"\bnan\b", text)
    assert "what can&#x27;t be computed, and why" in page
    written = json.loads((tmp_path / "run" / "scores" / "scores.json").read_text())
    assert {"dimensions", "unavailable"} <= {table["name"] for table in written["tables"]}


def test_many_models_and_odd_names(tmp_path):
    models = (*ODD, *(f"m{n}" for n in range(24)))
    text, page = report(rows_of(models=models, questions=4), tmp_path)
    assert "the first 24 of 28 models" in page
    assert "<script>alert(1)" not in page
    for name in ODD:
        assert name in text
    figures = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    bars = json.loads(figures[0])["data"]
    names = [trace["name"] for trace in bars]
    assert len(names) == len(set(names)) == 24  # shortened, and still told apart
    looks = {(b["marker"]["color"], b["marker"]["pattern"]["shape"]) for b in bars}
    assert len(looks) == 24
