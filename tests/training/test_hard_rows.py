"""Rows that ask for the impossible, or say next to nothing: what a run makes of them."""

import json
import math

import numpy as np
import pytest

from dignified_jax.objectives import LagDPO
from dignified_jax.objectives.duals.controllers import Ascent
from dignified_jax.objectives.duals.tolerances import Constant
from dignified_jax.training import loop
from dignified_jax.training.display import summary
from tests.oracles import tiny_run

pytestmark = pytest.mark.wiring

DEVICES = 2
EPSILON = (0.5, 0.5, 0.9, 0.6)  # of A, T, E, C; an untrained policy has 0.69


def contradictory(number):
    """Two rows of one prompt, each of which rejects the other's golden."""
    replies = f"Yes, {number} times.", f"No, not {number}."
    return [
        {
            "prompt": f"Is it {number}?",
            "golden": golden,
            "mask": ["A"],
            "reject_A": replies[golden == replies[0]],
        }
        for golden in replies
    ]


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    """(records of the training steps, summary): A is contradictory, E fair, C one row, T absent."""
    rows = [row for number in range(4) for row in contradictory(number)]
    rows += [row for row in tiny_run.records() if row["mask"] == ["E"]]
    rows.append({"prompt": "Sing.", "golden": "La.", "mask": ["C"], "reject_C": "No."})
    directory = tmp_path_factory.mktemp("hard")
    tiny_run.write_rows(directory / "train.jsonl", rows)
    config = tiny_run.config(
        root,
        directory / "run",
        method=LagDPO(epsilon=EPSILON, schedule=Constant(), controller=Ascent(1.0), lambda_max=0.3),
        data__train=str(directory / "train.jsonl"),
        data__validation_fraction=0.0,
        batch_size=4,
        checkpoint_every=6,
    )
    result = loop.run(config)
    lines = (directory / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], result


def test_contradictory_preferences_keep_their_loss_and_drive_lambda_to_the_cap(run):
    """-log sigmoid(m) - log sigmoid(-m) is at least 2 log 2, whatever the margin m is."""
    records, result = run
    assert result["at_lambda_max"] == ["A"]
    assert records[-1]["lambda/A"] == pytest.approx(0.3, rel=1e-6)
    epochs = np.array([[r["loss/A"] * r["pairs/A"], r["pairs/A"]] for r in records]).sum(axis=0)
    assert epochs[0] / epochs[1] > math.log(2) - 0.01


def test_the_warning_names_the_dimension(run):
    warnings = [line for line in summary.table(run[1]).splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: lambda/A is at method.lambda_max")


def test_a_single_row_moves_lambda_only_where_it_is(run):
    records, _ = run
    before = 0.0
    for record in records:
        has = "loss/C" in record
        assert has == (record.get("pairs/C", 0) > 0)
        expected = np.clip(before + record["loss/C"] - 0.6, 0, 0.3) if has else before
        np.testing.assert_allclose(record["lambda/C"], expected, rtol=1e-5, atol=1e-7)
        before = record["lambda/C"]
    present = sum("loss/C" in record for record in records)
    assert 0 < present < len(records)


def test_an_absent_dimension_has_no_figures_and_no_multiplier(run):
    records, _ = run
    assert not any("loss/T" in record for record in records)
    assert {record["lambda/T"] for record in records} == {0.0}
    assert all(math.isfinite(record["loss"]) for record in records)
