"""Runs of SFT, the other side of most switches; and rows that are bad."""

import json

import numpy as np
import pytest

from dignified_jax import data
from dignified_jax.models import hf
from dignified_jax.objectives import SFT
from dignified_jax.training import loop
from dignified_jax.training.run import continuation
from tests.oracles import tiny_run
from tests.training.test_loop import records

pytestmark = pytest.mark.wiring

DEVICES = 2


def spoil(path, rows):
    """A copy of a file with the given (1-based) rows spoiled."""
    lines = path.read_text().splitlines()
    for number in rows:
        lines[number - 1] = json.dumps(json.loads(lines[number - 1]) | {"golden": " "})
    return "\n".join(lines) + "\n"


def test_bad_rows_stop_a_run_before_it_begins_and_all_are_shown(root, tmp_path):
    (tmp_path / "bad.jsonl").write_text(spoil(root / "train.jsonl", (2, 7)))
    config = tiny_run.config(root, tmp_path / "run", data__train=str(tmp_path / "bad.jsonl"))
    with pytest.raises(data.BadRowsError) as error:
        loop.run(config)
    assert "2 problems in 2 rows" in str(error.value)
    assert "bad.jsonl:2: golden" in str(error.value)
    assert "bad.jsonl:7: golden" in str(error.value)
    # Nothing was begun, so that another configuration may use the directory.
    continuation.check_config(tmp_path / "run", tiny_run.config(root, tmp_path / "run"))


def test_sft_from_random_weights_with_skipped_rows(root, tmp_path):
    """The other side of every switch: no reference, no validation, bad rows set aside."""
    (tmp_path / "bad.jsonl").write_text(spoil(root / "train.jsonl", (2, 7)))
    config = tiny_run.config(
        root,
        tmp_path / "run",
        method=SFT(),
        max_steps=2,
        data__train=str(tmp_path / "bad.jsonl"),
        data__on_bad_row="skip",
        data__validation_fraction=0.0,
        model__init="random",
        model__export_dtype="bfloat16",
    )
    with pytest.warns(UserWarning, match="2 of 11 rows are bad and were skipped"):
        result = loop.run(config)
    rejected = (tmp_path / "run" / "rejected_train.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in rejected] == [2, 7]
    logged = records(tmp_path / "run")
    assert [record["step"] for record in logged] == [1, 2]
    # Random weights of std 0.02 know nothing: ln(vocabulary) nats a token.
    assert logged[0]["loss"] == pytest.approx(np.log(320), rel=0.05)
    assert not any(name.startswith(("rewards", "lambda")) for name in logged[0])
    assert result["dimensions"]["A"]["lambda"] is None
    assert result["dimensions"]["A"]["accuracy"] is None
    assert hf.stored_dtype(tmp_path / "run" / "export") == "bfloat16"


@pytest.mark.parametrize("combined", [pytest.param(False, marks=pytest.mark.slow), True])
def test_sft_on_anchor_sets(combined, root, tmp_path, capsys):
    """Two rows of a public format, alone or with the preference rows' goldens."""
    lines = [
        {
            "question": f"I like boat {number}. (A) Good (B) Bad",
            "answer_matching_behavior": " (A)",
            "answer_not_matching_behavior": " (B)",
        }
        for number in range(4)
    ]
    tiny_run.write_rows(tmp_path / "evals.jsonl", lines)
    config = tiny_run.config(
        root,
        tmp_path / "run",
        method=SFT(),
        max_steps=1,
        data__anchors=(f"sycophancy:{tmp_path / 'evals.jsonl'}",),
        data__validation_fraction=0.0,
        **({} if combined else {"data__train": ""}),
    )
    loop.run(config)
    assert f"train: {4 + 11 * combined} examples" in capsys.readouterr().out
    assert np.isfinite(records(tmp_path / "run")[0]["loss"])
