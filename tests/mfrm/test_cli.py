"""`python -m dignified_jax.mfrm` from end to end, and what it says of bad input."""

import contextlib
import csv
import io
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from dignified_jax import embedded, mfrm
from dignified_jax.embedded import make_ratings
from dignified_jax.mfrm import __main__ as command
from tests.mfrm.dense_ordinal import simulate

pytestmark = pytest.mark.wiring

SAMPLE = "embedded:ratings.csv"
FILES = {
    "model.csv", "question.csv", "judge.csv", "rubric.csv", "facets.csv", "cells.csv",
    "bias_pairs_judge_model.csv", "bias_pairs_rubric_judge.csv", "unexpected_after_bias.csv",
    "bias_judge_model.csv", "bias_rubric_judge.csv", "agreement.csv", "agreement_pairs.csv",
    "unexpected.csv", "contrasts.csv", "bootstrap.csv", "judges_left_out.csv", "residuals.csv",
    "shifts.csv", "categories.csv", "judge_effects.csv", "dimensionality.csv", "loadings.csv",
    "fit.json", "wright_map.png", "calibration_shift.png", "fit_plot.png", "report.html",
    "bias_judge_model.png", "bias_rubric_judge.png",
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Everything at once: (what it printed, where it wrote)."""
    pytest.importorskip("matplotlib")
    out = tmp_path_factory.mktemp("cli") / "new" / "directory"
    arguments = ["--pairs", "judge:model", "rubric:judge", "--bootstrap", "100", "--leave-one-out"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert command.main([SAMPLE, "--out", str(out), *arguments]) == 0
    return printed.getvalue(), out


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_sample_is_what_its_script_makes(tmp_path):
    make_ratings.main([str(tmp_path / "ratings.csv")])
    made = (tmp_path / "ratings.csv").read_bytes()
    with open(embedded.resolve(SAMPLE), "rb") as file:
        assert file.read() == made


def test_files_hold_the_fit(whole):
    out = whole[1]
    assert {path.name for path in out.iterdir()} == FILES
    ratings = mfrm.from_long(embedded.resolve(SAMPLE))
    fit = mfrm.fit(ratings.successes, ratings.trials)
    rows = read(out / "model.csv")
    assert [row["model"] for row in rows] == list(ratings.labels["model"])
    np.testing.assert_allclose([float(r["measure"]) for r in rows], fit.score, rtol=1e-6)
    np.testing.assert_allclose(
        [float(r["se"]) for r in read(out / "judge.csv")], fit.standard_error.judge, rtol=1e-6
    )
    assert len(read(out / "cells.csv")) == 120
    found = json.loads((out / "fit.json").read_text())
    assert found["status"] == "converged" and found["options"]["bootstrap"] == 100
    np.testing.assert_allclose(
        found["score_covariance"]["questions_fixed"], fit.score_covariance, rtol=1e-6
    )
    tables = {table["name"]: table["columns"] for table in found["tables"]}
    np.testing.assert_allclose(tables["judge"]["measure"], fit.judge, rtol=1e-6)
    zeros = dict.fromkeys(("failed", "infinite", "singular", "incomplete"), 0)
    assert found["bootstrap"] == {"replicates": 100, **zeros}


def test_the_page_needs_nothing_else(whole):
    """All tables and figures; no script, link or address of another file, one id each."""
    text = (whole[1] / "report.html").read_text("utf-8")
    assert text.count("<figure>") == 5 and text.count("<table>") == len(FILES) - 8
    assert "favours amber-small" in text and "<script" not in text and "<link" not in text
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert not re.search(r"url\((?!#)", text)
    ids = re.findall(r'<section[^>]* id="([^"]*)"', text)
    assert len(ids) == len(set(ids)) == 2 + 5 + len(FILES) - 8


def test_the_planted_bias_is_first(whole):
    printed, out = whole
    rows = read(out / "bias_judge_model.csv")
    assert (rows[0]["judge"], rows[0]["model"]) == ("amber-judge", "amber-small")
    assert float(rows[0]["q"]) < 0.01 and float(rows[0]["bias"]) > 1.0
    assert "bias of judge by model" in printed and "amber-small" in printed
    assert len(read(out / "bias_rubric_judge.csv")) == 9


def test_the_truth_is_near(whole):
    """Severities that the sample was made with, but for what the favour moves."""
    judge = {row["judge"]: float(row["measure"]) for row in read(whole[1] / "judge.csv")}
    for name, severity in zip(make_ratings.JUDGES, make_ratings.SEVERITY, strict=True):
        assert abs(judge[name] - severity) < 0.4


def test_printed_summary(whole):
    printed = whole[0]
    assert "1,080 ratings: 4 models, 30 questions, 3 judges, 3 rubrics; 100%" in printed
    assert "favours amber-small" in printed and "\nmodels " in printed
    assert "\nconverged\n" in printed and "overall infit" in printed
    for title in ("model: measure", "facets: p is", "scores, 100 samples", "each judge left out"):
        assert title in printed


def test_the_docs_show_what_is_printed(whole):
    page = pathlib.Path(embedded.__file__).parents[2] / "docs" / "calibration.md"
    text = page.read_text("utf-8")
    shown = text.split("bias of judge by model", 1)[1].split("```", 1)[0].strip()
    assert shown.count("\n") == 4 and shown in whole[0]


def write(path, rows):
    path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def table(plan, tmp_path):
    """The plan as a file, repeats summed in a column of their own."""
    rows = [("system", "question", "judge", "rubric", "yes", "of")]
    for index in np.ndindex(plan[0].shape):
        if plan[1][index]:
            labels = (f"{name}{level}" for name, level in zip("mqjr", index, strict=True))
            rows.append((*labels, plan[0][index], plan[1][index]))
    return write(tmp_path / "table.csv", rows)


COLUMNS = ["--model", "system", "--score", "yes", "--trials", "of"]


@pytest.mark.slow
def test_anchors_groups_and_precision(plan, table, tmp_path, capsys):
    anchors = [("facet", "level", "value"), ("judge", "j0", 0.25), ("judge", "j2", -1)]
    anchors += [("question", f"q{level}", 0) for level in range(8)]
    options = ["--anchors", write(tmp_path / "anchors.csv", anchors), "--no-plots", "--pairs"]
    options += ["--group", "rubric", "0.5", "r1", "--precision", "rubric=0.5", "theta=2"]
    out = tmp_path / "out"
    assert command.main([table, *COLUMNS, "--out", str(out), *options]) == 0
    fit = mfrm.fit(
        *plan,
        precision=mfrm.Precision(rubric=0.5, theta=2),
        anchors={"judge": np.array([0.25, np.nan, -1]), "question": np.zeros(8)},
    )
    judge = read(out / "judge.csv")
    np.testing.assert_allclose([float(r["measure"]) for r in judge], fit.judge, atol=1e-5)
    assert judge[0]["displacement"] and not judge[1]["displacement"]
    assert read(out / "rubric.csv")[1]["measure"] == "0.5"
    model = [float(row["measure"]) for row in read(out / "model.csv")]
    np.testing.assert_allclose(model, fit.score + 0.5 - fit.rubric[1], atol=1e-5)
    assert not list(out.glob("*.png")) and not list(out.glob("bias*"))
    assert "displacement" in capsys.readouterr().out


def test_threshold_and_absent_columns(tmp_path):
    rows = [
        ("system", "question", "judge", "points"),
        *((m, 1, "j", p) for m, p in zip("abc", (1, 3, 5), strict=True)),
    ]
    options = ["--model", "system", "--rubric", "-", "--score", "points", "--threshold", "3"]
    arguments = command._parser().parse_args([write(tmp_path / "t.csv", rows), *options])
    ratings = command._read(arguments)
    assert ratings.successes.ravel().tolist() == [0, 1, 1]
    assert ratings.labels["rubric"] == (None,)


def disconnected(path):
    """Judges x and y rated models a and b on other questions than z rated c and d."""
    rows = [("model", "question", "judge", "rubric", "score")]
    for group, (models, judges) in enumerate((("ab", "xy"), ("cd", "z"))):
        for q in range(4):
            rows += [
                (m, f"{group}{q}", j, f"r{group}", (q + k) % 2)
                for k, m in enumerate(models)
                for j in judges
            ]
    return write(path, rows)


def refused(arguments, capsys):
    assert command.main(arguments) == 1
    captured = capsys.readouterr()
    # On a slow machine a line tells before how long the fit took.
    said = re.sub(r"^fitting .* s\n", "", captured.err)
    assert captured.out == "" and said.startswith("error: ")
    assert "Traceback" not in said
    return said


def test_disconnected_subsets_are_named_by_label(tmp_path, capsys):
    table = disconnected(tmp_path / "t.csv")
    error = refused([table], capsys)
    assert "model: a, b | c, d" in error and "--allow-disconnected" in error
    assert "ridge" in error
    assert command.main([table, "--allow-disconnected", "--method", "ridge"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["no-such-file.csv"], "error: no-such-file.csv: No such file or directory"),
        (["embedded:no.csv"], "embedded:ratings.csv"),
        ([SAMPLE, "--score", "points"], "no column 'points'; its columns are 'model'"),
        ([SAMPLE, "--pairs", "judge-model"], "A:B, found 'judge-model'"),
        ([SAMPLE, "--precision", "judges=1"], "theta|judge|rubric|question=NUMBER"),
        ([SAMPLE, "--precision", "judge=x"], "expected a number, found 'x'"),
        ([SAMPLE, "--precision", "judge=-1"], "precision.judge must be finite and at least 0"),
        ([SAMPLE, "--group", "judge", "0"], "FACET MEAN LEVEL"),
        ([SAMPLE, "--group", "judge", "0", "nobody"], "no judge 'nobody' among amber-judge"),
        ([SAMPLE, "--group", "judge", "0", "amber-judge", "--bootstrap", "9"], "leave --group out"),
        ([SAMPLE, "--bootstrap", "2", "--seed", "-1"], "--seed: expected at least 0, found -1"),
        ([SAMPLE, "--bootstrap", "1"], "replicates must be at least 2"),
        ([SAMPLE, "--max-iterations", "1"], "stopped at max_iterations"),
        ([SAMPLE, "--anchors", "no-such-anchors.csv"], "no-such-anchors.csv"),
        ([SAMPLE, "--out", __file__], "test_cli.py is a file; name a folder"),
        ([SAMPLE, "--judge", "model"], "column 'model' is given for both model and judge"),
    ],
)
def test_bad_input_is_one_message_and_status_1(options, message, capsys):
    assert message in refused(options, capsys)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("facet", "level"), ("judge", "amber-judge")], "a.csv has no column 'value'"),
        ([("facet", "level", "value")], "no anchors"),
        ([("facet", "level", "value"), ("judge", "x" * 200_000, 1)], "row 1: no judge 'xx"),
        (
            [("facet", "level", "value"), *[("judge", "amber-judge", n) for n in (1, 2)]],
            "row 2: judge 'amber-judge' is anchored in an earlier row already",
        ),
        (
            [("facet", "level", "value"), ("judge", "amber-judge", "nan")],
            "row 1: expected a finite",
        ),
        ([("facet", "level", "value"), ("judge", "x")], "a.csv, row 1: 2 values for 3 columns"),
        ([tuple(map(str, range(30_000)))], "a.csv has no column 'facet'"),
        ([("facet", "level", "value"), ("model", "x", 1)], "row 1: facet must be judge"),
        ([("facet", "level", "value"), ("judge", "x", 1)], "row 1: no judge 'x'"),
        ([("facet", "level", "value"), ("judge", "amber-judge", "")], "expected a number"),
    ],
)
def test_bad_anchors(tmp_path, capsys, rows, message):
    anchors = write(tmp_path / "a.csv", rows)
    said = refused([SAMPLE, "--anchors", anchors], capsys)
    assert message in said and len(said) < 1000


def test_anchors_that_are_not_utf8_are_named(tmp_path, capsys):
    anchors = tmp_path / "a.csv"
    anchors.write_bytes(b"facet,level,value\njudge,\xe4,1\n")
    assert f"{anchors}: byte 0xe4 is not UTF-8" in refused(
        [SAMPLE, "--anchors", str(anchors)], capsys
    )


def test_help_has_an_example_that_runs_from_a_shell():
    run = [sys.executable, "-m", "dignified_jax.mfrm"]
    shown = subprocess.run([*run, "--help"], capture_output=True, text=True, check=True).stdout
    assert "python -m dignified_jax.mfrm embedded:ratings.csv --out calibrated" in shown
    failed = subprocess.run([*run, "none.csv"], capture_output=True, text=True, check=False)
    assert failed.returncode == 1 and failed.stderr.startswith("error: ")


@pytest.mark.slow
def test_real_ratings(shared_ratings, tmp_path, capsys):
    table = str(shared_ratings / "hanna_llm.csv.gz")
    assert command.main([table, "--out", str(tmp_path), "--float64", "--method", "ridge"]) == 0
    printed = capsys.readouterr().out
    assert "31,680 ratings: 11 models, 96 questions, 5 judges, 6 rubrics; 100%" in printed
    # In double precision, so the same as the reference to its last digit.
    reference = read(shared_ratings / "reference" / "hanna_llm_ridge1_model_dense.csv")
    judges = {row["level"]: row for row in reference if row["facet"] == "judge"}
    for row in read(tmp_path / "judge.csv"):
        for ours, theirs in (("measure", "est"), ("se", "se")):
            assert abs(float(row[ours]) - float(judges[row["judge"]][theirs])) < 1e-7


def ordinal_table(path):
    """Scores from 1 to 4 of two items whose steps differ."""
    counts = simulate((4, 12, 3, 2), 4, 0)
    rows = [
        (f"m{m}", f"q{q}", f"j{j}", f"r{i}", k + 1)
        for (m, q, j, i, k), number in np.ndenumerate(counts)
        for _ in range(int(number))
    ]
    return write(path, [("model", "question", "judge", "rubric", "score"), *rows])


def test_ordinal_scores_are_fitted_as_they_are(tmp_path, capsys):
    """Tables, steps and figures; the estimates are those of the function."""
    table = ordinal_table(tmp_path / "t.csv")
    options = ["--categories", "1", "4", "--ordinal", "partial_credit"]
    assert command.main([table, "--out", str(tmp_path / "out"), *options]) == 0
    printed = capsys.readouterr().out
    assert "steps: where adjacent scores are equally likely" in printed
    ratings = mfrm.from_long(table, categories=(1, 4))
    fit = mfrm.fit(ratings.counts, model="partial_credit")
    steps = read(tmp_path / "out" / "steps.csv")
    assert [row["rubric"] for row in steps] == ["r0"] * 3 + ["r1"] * 3
    assert [(row["from"], row["to"]) for row in steps[:3]] == [("1", "2"), ("2", "3"), ("3", "4")]
    np.testing.assert_allclose([float(row["step"]) for row in steps], np.ravel(fit.step), atol=1e-5)
    judges = {row["judge"]: float(row["measure"]) for row in read(tmp_path / "out" / "judge.csv")}
    np.testing.assert_allclose([judges[f"j{j}"] for j in range(3)], fit.judge, atol=1e-5)
    # Averages on the file's own scale.
    raw = np.average(np.arange(1, 5), weights=ratings.counts.sum(axis=(0, 1, 3))[0])
    first = read(tmp_path / "out" / "judge.csv")[0]
    np.testing.assert_allclose(float(first["observed"]), raw, rtol=1e-5)
    assert 1 < float(first["fair"]) < 4 and abs(float(first["expected"]) - raw) < 0.2
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written >= {"steps.csv", "wright_map.png", "calibration_shift.png", "fit_plot.png"}
    assert "bias_judge_model.csv" in written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ordinal", "rating_scale"], "--ordinal needs --categories"),
        (["--categories", "1", "3"], "score must be from 1 to 3"),
    ],
)
def test_what_ordinal_scores_cannot_have_is_named(options, message, tmp_path, capsys):
    assert message in refused([ordinal_table(tmp_path / "t.csv"), *options], capsys)
