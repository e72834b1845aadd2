"""The files that methods are compared on: no held-out prompt elsewhere, equal shares."""

import json
import pathlib

import pytest

from benchmarks import preferences_data
from dignified_jax import data
from dignified_jax.embedded import resolve

pytestmark = pytest.mark.wiring

SOURCES = [
    pathlib.Path(resolve(f"embedded:personaknob_mini/{name}.jsonl")) for name in ("train", "test")
]


@pytest.mark.parametrize("held_out", [5, 1000])
def test_held_out_prompts_are_in_one_file_alone(held_out, tiny_tokenizer, tmp_path):
    sizes = preferences_data.Sizes(max_length=4096, train=40, held_out=held_out, fraction=0.2)
    # Every prompt for A, and for T the half that is held out first: so A holds out many prompts
    # that T would keep.
    lines = [line for s in SOURCES for line in s.read_text(encoding="utf-8").splitlines()]
    rows = [json.loads(line) for line in lines]
    everyone = [data.PreferenceRow(row["prompt"], row["golden"], {"A": "No."}) for row in rows]
    first = {row.prompt for row in data.split_validation(everyone, 0.5, seed=1)[1]}
    singles = [
        {"mask": [k], "prompt": ask + row["prompt"], "golden": row["golden"], f"reject_{k}": "No."}
        for row in rows
        for ask, dimensions in (("", "AT" if row["prompt"] in first else "A"), ("Please. ", "EC"))
        for k in dimensions
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in singles), encoding="utf-8")
    counts = preferences_data.write([file], tiny_tokenizer, tmp_path / "data", sizes)
    prompts = {}
    for name in preferences_data.SPLITS:
        lines = (tmp_path / "data" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(lines) == sum(counts[name].values())
        prompts[name] = {json.loads(line)["prompt"].strip() for line in lines}
    assert not prompts["test"] & prompts["validation"]
    for name in ("test", "validation"):
        assert not prompts[name] & (prompts["train"] | prompts["base"])
        largest = max(counts[name].values())
        assert largest == held_out if held_out == 5 else 5 < largest < held_out
    assert sum(counts["train"].values()) == 40
