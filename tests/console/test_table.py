"""Tables with hostile labels: lines stay lines, spreadsheets compute nothing."""

import csv
import io
import json

import pytest

from dignified_jax.console.table import Table


def table(*labels, **more):
    return Table("t", "title", {"who": list(labels), "x": [1.0] * len(labels)}, **more)


def test_labels_with_escapes_and_newlines_keep_a_row_a_line():
    text = table("\x1b[2Jgone", "two\nlines").text()
    assert len(text.split("\n")) == 4 and "\x1b" not in text
    assert r"\x1b[2Jgone" in text and r"two\nlines" in text


def test_a_long_label_does_not_widen_every_line():
    text = table("a" * 5000, "a" * 4999 + "b", "short").text()
    assert max(map(len, text.split("\n"))) < 60
    assert len(set(text.split("\n"))) == 5  # the two long ones can be told apart


def test_wide_characters_are_aligned():
    lines = table("評価者", "ab").text().split("\n")[2:]
    assert lines == ["評価者  1.00", "ab      1.00"]


@pytest.mark.parametrize("label", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", " =1", "\t=1", "\uff1d1"])
def test_formulas_are_text_in_csv(label):
    rows = list(csv.reader(io.StringIO(table(label).csv())))
    assert rows[1][0] == f"'{label}"


def test_numbers_keep_their_sign_in_csv():
    found = Table("t", "title", {"label": ["-5", "+1.5"], "x": [-1.5, 2.0]}).csv()
    assert found.split("\n")[1:3] == ["-5,-1.5", "+1.5,2.0"]


def test_a_column_name_is_no_formula_either():
    assert Table("t", "title", {"=x": [1]}).csv().split("\n")[0] == "'=x"


def test_mean_and_deviation_stand_under_the_rows():
    made = Table(
        "t", "title", {"who": ["a", "b", "c"], "x": [1.0, 3.0, float("inf")]}, summarised=("x",)
    )
    assert made.summary() == {"x": (2.0, 1.0)}
    assert [line.split() for line in made.text().split("\n")[-2:]] == [
        ["mean", "2.00"],
        ["sd", "1.00"],
    ]
    assert made.json()["mean_and_sd"] == {"x": [2.0, 1.0]}


def test_lone_surrogates_are_written():
    json.dumps(table("\ud800").json()).encode()
    assert r"\ud800" in table("\ud800").text()
