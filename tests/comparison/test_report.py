"""The report of made-up results: the numbers of its tables, its files, its curves."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from dignified_jax.comparison import curves, export, plan, report
from dignified_jax.comparison.results import summarise
from dignified_jax.objectives import LagDPO, MultiNegativeDPO
from dignified_jax.training.run import directory as run_directory


@pytest.fixture
def runs(comparison):
    return plan.runs(comparison)


def table(text, title):
    """Rows of cells of the Markdown table under a heading."""
    section = text.split(f"## {title}\n")[1].split("\n##")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert set("".join(rows.pop(1))) == {"-"}
    return rows


def log(run, records):
    directory = run_directory.path(run.config)
    directory.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(record) + "\n" for record in records)
    (directory / "metrics.jsonl").write_text(text)


def test_the_tables_hold_the_numbers(comparison, runs, made_up):
    text = report.markdown(comparison, runs, made_up, ("radar",))
    assert table(text, "Worst dimension") == [
        ["method", "worst accuracy", "worst loss", "mean accuracy", "KL", "worst by seed"],
        [
            *("lagdpo", "0.6667 ± 0.1434", "0.5000 ± 0.0000"),
            *("0.7500 ± 0.0000", "0.2000 ± 0.2484", "E A A"),
        ],
        [
            *("soup", "0.5333 ± 0.1434", "0.5000 ± 0.0000"),
            *("0.7167 ± 0.0717", "0.2000 ± 0.4303", "A A A"),
        ],
    ]
    header, soup = table(text, "lagdpo minus each method")
    assert header[:3] == ["method", "worst accuracy", "p"]
    assert soup[:3] == ["soup", "+0.133 ± 0.14", "0.0572"]
    assert table(text, "Accuracy by dimension") == [
        ["method", "A", "E", "worst"],
        ["lagdpo", "0.7000 ± 0.2484", "0.8000 ± 0.2484", "0.6667 ± 0.1434"],
        ["soup", "0.5333 ± 0.1434", "0.9000 ± 0.0000", "0.5333 ± 0.1434"],
        ["longer", "0.5000", "0.6000", "0.5000"],
    ]
    assert table(text, "Reward margin by dimension")[1][1] == "1.4000 ± 0.4968"
    assert "(pairs: A 10, E 11)" in text
    assert "![radar](radar.png)" in text and "pareto.png" not in text
    assert "Several policies, each trained for all epochs, go into: soup." in text
    assert "Without a curve: soup (trained in several stages)." in text


def test_what_sets_methods_apart_is_listed(get_config):
    config = get_config()
    config.entries.lagdpo.method.epsilon = (0.25,)
    found = report.settings(plan.parse(config)).splitlines()
    cells = [cell.strip() for cell in found[2].split("|")[1:4]]
    assert cells == ["lagdpo", "lagdpo", "`method.epsilon=0.25`"]
    assert "`reference=cached`" in next(line for line in found if "modpo" in line)
    assert "`optimizer.learning_rate=0.0001`" in next(line for line in found if "sft" in line)
    assert next(line for line in found if "pcgrad" in line).split("|")[3].strip() == "-"


def test_one_seed_has_no_interval_and_one_method_no_difference(comparison, runs, made_up):
    one = summarise(made_up.records[:1], "lagdpo")
    text = report.markdown(comparison, runs, one, ())
    assert table(text, "Worst dimension")[1][1:3] == ["0.7000", "0.5000"]
    assert "minus" not in text and "nan" not in text


def test_csv_and_json_hold_all_of_it(comparison, made_up):
    lagdpo, soup = csv.DictReader(io.StringIO(export.summary_csv(made_up)))
    assert float(soup["worst_accuracy"]) == pytest.approx(1.6 / 3)
    assert float(soup["lagdpo_minus_this/worst_accuracy"]) == pytest.approx(0.4 / 3)
    assert lagdpo["lagdpo_minus_this/worst_accuracy"] == ""
    rows = list(csv.DictReader(io.StringIO(export.runs_csv(made_up))))
    assert [(r["method"], r["seed"], r["worst"]) for r in rows[2:4]] == [
        *(("lagdpo", "2", "A"), ("soup", "0", "A"))
    ]
    assert rows[2]["kl"] == "0.3"
    content = export.as_json(comparison, made_up)
    assert content["means"]["soup"]["kl"]["mean"] == pytest.approx(0.2)
    assert content["against_minus_method"]["soup"]["kl"]["count"] == 3
    # All differences the same: an interval, and no test.
    assert content["against_minus_method"]["soup"]["worst_loss"] == {
        **{"mean": 0.0, "half": 0.0, "count": 3, "p": None}
    }
    assert len(content["runs"]) == 6
    assert content["base"]["batch_size"] == 16
    assert list(content["entries"]) == ["lagdpo", "soup"]


def test_all_files_are_written(comparison, runs, made_up):
    for seed, run in enumerate(runs):
        log(run, [{"step": 10, "eval/loss/A": 0.6, "eval/loss/E": 0.5 + seed}])
    directory = report.write(comparison, runs, made_up)
    names = ["convergence.png", "pareto.png", "radar.png", "report.md", "results.json"]
    assert sorted(file.name for file in directory.iterdir()) == [*names, "runs.csv", "summary.csv"]
    assert "![convergence](convergence.png)" in (directory / "report.md").read_text()


def test_the_curve_is_the_mean_of_each_runs_worst_dimension(runs):
    lagdpo = [run for run in runs if run.name == "lagdpo"]
    training = {"step": 10, "loss/A": 9.0, "rewards/margins/A": 1.0}
    log(
        lagdpo[0],
        [
            training,
            {"step": 10, "eval/loss": 0.65, "eval/loss/A": 0.6, "eval/loss/E": 0.7},
            {"step": 20, "eval/loss": 0.35, "eval/loss/A": 0.4, "eval/loss/E": 0.3},
            {"step": 27, "eval/loss": 0.2, "eval/loss/A": 0.2, "eval/loss/E": 0.2},
        ],
    )
    log(lagdpo[1], [{"step": s, "eval/loss/A": 0.5, "eval/loss/E": 0.1} for s in (10, 20, 28)])
    found = [curves.worst_losses(run) for run in lagdpo]
    assert found[0] == {10: 0.7, 20: 0.4, 27: 0.2}
    steps, means = curves.mean_curve(found)
    assert steps.tolist() == [10, 20]
    np.testing.assert_allclose(means, [0.6, 0.45])


def test_losses_that_are_not_dpos_have_no_curve(get_config):
    first = {run.name: run.config for run in plan.runs(plan.parse(get_config()))}
    reasons = {name: curves.incomparable(config, 0.1) for name, config in first.items()}
    assert [name for name, reason in reasons.items() if reason is None] == [
        *("lagdpo", "multi_negative", "pcgrad", "safe_rlhf")
    ]
    lagdpo = first["lagdpo"]
    assert curves.incomparable(lagdpo, 0.2) == "its losses are at beta 0.1"
    for fields in ({"length_normalized": True}, {"label_smoothing": 0.1}):
        config = dataclasses.replace(lagdpo, method=LagDPO(beta=0.2, **fields))
        reason = "its losses are length-normalized or smoothed"
        assert curves.incomparable(config, 0.2) == reason
    for method in (LagDPO(beta=0.2, golden_nll=1.0), MultiNegativeDPO(beta=0.2)):
        assert curves.incomparable(dataclasses.replace(lagdpo, method=method), 0.2) is None


def test_groups_stand_beside_their_dimensions(comparison, runs, made_up):
    grouped = summarise(made_up.records, "lagdpo", {"Both": ("A", "E")})
    text = report.markdown(comparison, runs, grouped, ())
    header, lagdpo, _, longer = table(text, "Accuracy by dimension")
    assert header == ["method", "A", "E", "Both", "worst"]
    assert lagdpo[3] == "0.7500 ± 0.0000" and longer[3] == "0.5500"
    assert "Both is the mean of A, E." in text
    assert export.as_json(comparison, grouped)["groups"] == {"Both": ["A", "E"]}
