"""The audit's tables against counts by hand, and its forms."""

import csv

import numpy as np
import pytest
from scipy.stats import binomtest

from dignified_jax.construction import templates
from dignified_jax.construction.audit import audit, forms, sample, table
from dignified_jax.construction.audit.sample import Asked
from dignified_jax.data import PreferenceRow
from tests.construction.conftest import ScriptedAsker

CRITERIA = {n: t for kind in sample.TYPES for n, t in templates.read().criteria[kind].items()}


@pytest.fixture(scope="module")
def rows():
    return [
        PreferenceRow(f"Question {at}?", f"golden {at}", {"A": "a", "E": "e"}, context=f"c{at}")
        for at in range(10)
    ]


@pytest.fixture(scope="module")
def drawn(rows):
    return sample.draw(rows, 10, 0)


def scores(drawn, failing):
    """All pass but (place of the row, part, criterion)."""
    wrong = {Asked(drawn[at].id, part, name) for at, part, name in failing}
    return {asked: int(asked not in wrong) for row in drawn for asked in row.asked}


def test_a_sample_depends_on_texts_and_seed_alone(rows):
    names = [row.id for row in sample.draw(rows, 4, 0)]
    assert [row.id for row in sample.draw(rows[::-1], 4, 0)] == names
    assert [row.id for row in sample.draw(rows, 4, 1)] != names
    assert [row.id for row in sample.draw([*rows, *rows], 10, 0)][:4] == names
    assert len(sample.draw(rows, 99, 0)) == 10


def test_rates_by_hand(drawn):
    machine = [(0, "scenario", "S1"), (1, "scenario", "S1"), (1, "scenario", "S3")]
    machine += [(2, "negative A", "N2"), (2, "negative E", "N2"), (3, "negative E", "N3")]
    people = [(1, "scenario", "S1"), (3, "negative E", "N3")]
    auditors = {"LLM": scores(drawn, machine), "human": scores(drawn, people)}
    shown, plain = table.rates(drawn, auditors)
    assert shown.columns["n"] == [10] * 6
    counts = dict(
        zip(
            zip(*(plain.columns[n] for n in ("auditor", "criterion", "type")), strict=True),
            plain.columns["failures"],
            strict=True,
        )
    )
    assert [counts["LLM", name, "scenario"] for name in ("S1", "S2", "S3", "any")] == [2, 0, 1, 2]
    assert [counts["LLM", name, "negative"] for name in ("N1", "N2", "N3", "any")] == [0, 1, 1, 2]
    assert [counts["human", name, "negative"] for name in ("N2", "N3", "any")] == [0, 1, 1]
    assert counts["LLM", "any", "reference"] == 0
    for count, total, low, high in zip(
        *(plain.columns[name] for name in ("failures", "n", "low", "high")), strict=True
    ):
        expected = binomtest(count, total).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert shown.columns["criterion 1"][0] == "20.0% [5.7, 51.0] (S1)"

    bounds = table.bounds(drawn, auditors).columns
    assert bounds["any"] == [0.4, 0.2]  # rows 0, 1, 2, 3; rows 1, 3
    assert bounds["sum of types"] == pytest.approx([0.2 + 0.2, 0.1 + 0.1])

    agreed = table.agreement(drawn, *auditors.items()).columns
    at = agreed["criterion"].index("S1")
    assert agreed["exact"][at] == 0.9
    # Both fail 1 of 10, one fails 1 more: chance 0.2 x 0.1 + 0.8 x 0.9.
    assert agreed["kappa"][at] == pytest.approx((0.9 - 0.74) / (1 - 0.74))
    assert agreed["LLM alone fails"][at] == 1
    assert agreed["human alone"][at] == 0
    assert np.isnan(agreed["kappa"][agreed["criterion"].index("R1")])


def test_rows_that_are_not_answered_in_full_are_not_counted(drawn):
    found = scores(drawn, [(0, "scenario", "S1")])
    del found[Asked(drawn[1].id, "negative E", "N1")]
    shown, _ = table.rates(drawn, {"human": found})
    assert shown.columns["n"] == [10, 10, 9]
    assert table.bounds(drawn, {"human": found}).columns["n"] == [9]
    empty, _ = table.rates(drawn, {"human": {}})
    assert empty.columns["aggregate"] == ["-"] * 3


def test_forms_go_out_and_come_back(drawn, tmp_path):
    form = forms.write(tmp_path, drawn, CRITERIA)
    with form.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 10 * (3 + 3 + 2 * 3)
    assert lines[0]["statement"] == CRITERIA["S1"]
    known = [asked for row in drawn for asked in row.asked]
    assert forms.read([form], known) == {}
    for line in lines:
        line["score"] = "0" if line["criterion"] == "N2" else "1"
    filled = tmp_path / "filled.csv"
    with filled.open("w", newline="", encoding="utf-8-sig") as stream:  # as spreadsheets save
        writer = csv.DictWriter(stream, forms.COLUMNS)
        writer.writeheader()
        writer.writerows(lines)
    found = forms.read([filled], known)
    assert len(found) == len(known)
    assert {asked.criterion for asked, score in found.items() if not score} == {"N2"}
    # Of two people who differ neither has the majority: it does not hold.
    other = tmp_path / "other.csv"
    other.write_text(filled.read_text(encoding="utf-8-sig").replace(",,0\n", ",,1\n"))
    assert {a.criterion for a, s in forms.read([filled, other], known).items() if not s} == {"N2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,part\n", "expected columns criterion, score"),
        ("row,part,criterion,score\nr,scenario,S1,yes\n", "form.csv:2: score: expected 0 or 1"),
        (
            "row,part,criterion,score\n1.23E+15,scenario,S1,1\n",
            "form.csv:2: row: expected 16 hexadecimal digits",
        ),
    ],
)
def test_wrong_forms_are_told(tmp_path, text, message):
    (tmp_path / "form.csv").write_text(text)
    with pytest.raises(forms.FormError, match=message):
        forms.read([tmp_path / "form.csv"], [])


def test_the_judge_answers_what_it_can(drawn):
    def write(prompt, model, number):
        return "no" if "Question 3?" in prompt else '{"S1": 1, "S2": 0, "S3": 1}'

    found, unusable = audit.judge(drawn, "j", templates.read(), ScriptedAsker(write))
    # References and negatives are answered with the wrong keys.
    assert unusable == 10 * 3 + 1
    assert len(found) == 9 * 3
    assert {asked.criterion for asked, score in found.items() if not score} == {"S2"}


def test_a_form_that_was_begun_is_never_written_over(drawn, tmp_path):
    form = forms.write(tmp_path, drawn[:2], CRITERIA)
    empty = form.read_text()
    assert forms.write(tmp_path, drawn[:3], CRITERIA).read_text() != empty  # nobody had answered
    begun = empty.replace(",,\n", ",ada,1\n", 1)
    form.write_text(begun)
    for asked in (drawn[:2], drawn[:1]):
        assert forms.write(tmp_path, asked, CRITERIA).read_text() == begun
    assert len(forms.read([str(form)], drawn[0].asked)) == 1
    with pytest.raises(forms.FormError, match="has answers, but not about all rows"):
        forms.write(tmp_path, drawn[:3], CRITERIA)
    form.write_text(begun.replace(",", ";"))  # as spreadsheets of some countries save it
    with pytest.raises(forms.FormError, match=r"expected columns .* move it away"):
        forms.write(tmp_path, drawn[:2], CRITERIA)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"row,part,criterion,score,annotator\na,b,c,1,Jos\xe9\n", "form.csv: expected UTF-8 text"),
        (
            b"row,part,criterion,score\n" + b"x" * 140_000 + b",b,c,1\n",
            "form.csv: after line 1: field larger",
        ),
    ],
)
def test_forms_that_cannot_be_read_are_told_by_file(tmp_path, content, message):
    (tmp_path / "form.csv").write_bytes(content)
    with pytest.raises(forms.FormError, match=message):
        forms.read([str(tmp_path / "form.csv")], [])
