"""Cached log-probs of the reference: the run of a resident one, and never a stale file."""

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from dignified_jax import data
from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.models import hf
from dignified_jax.training import loop, run_context
from dignified_jax.training.config import ConfigError
from dignified_jax.training.step.step_inputs import NoReference
from tests.oracles import command, sequences, tiny_run

pytestmark = pytest.mark.wiring

DEVICES = 2


@pytest.fixture(scope="module")
def cached(root):
    """A run that made the cache which the other tests read."""
    config = tiny_run.config(
        root, root / "cached", reference="cached", reference_cache=str(root / "cache")
    )
    loop.run(config)
    return root / "cached"


def file(root):
    return root / "cache" / "reference.safetensors"


def test_the_run_equals_one_with_a_resident_reference(root, cached):
    """Losses, margins and lambda 1e-5, weights 1e-6, over six steps of Adam."""
    loop.run(tiny_run.config(root, root / "resident"))
    left, right = command.logged(cached), command.logged(root / "resident")
    assert len(left) == len(right)
    for one, two in zip(left, right, strict=True):
        assert one.keys() == two.keys()
        for name in one:
            np.testing.assert_allclose(one[name], two[name], rtol=1e-5, atol=1e-5, err_msg=name)
    weights = [
        load_file(run / "export" / "model.safetensors") for run in (cached, root / "resident")
    ]
    for name, value in weights[0].items():
        np.testing.assert_allclose(value, weights[1][name], atol=1e-6, err_msg=name)


def test_the_file_holds_log_probs_of_separate_sequences(root, cached):
    """Of the test split, 1e-5 relative; 0 where a response is missing."""
    model, params = hf.load(root / "model")
    tokenizer = load_tokenizer(root / "model")
    examples, _ = data.encode(data.read_rows(root / "test.jsonl"), tokenizer)
    stored = load_file(file(root))
    assert stored.keys() == {"train", "validation", "test"}
    expected = sequences.log_probs(model, params, examples)
    np.testing.assert_allclose(stored["test"], expected, rtol=1e-5)


def test_a_second_run_reads_it_and_scores_nothing(root, cached, tmp_path, capsys):
    before = file(root).stat().st_mtime_ns
    config = tiny_run.config(
        root, tmp_path / "run", reference="cached", reference_cache=str(root / "cache")
    )
    state = run_context.prepare(config, tmp_path, print)
    assert isinstance(state.model.reference, NoReference)  # nothing of it is on a device
    assert "computing" not in capsys.readouterr().out
    assert file(root).stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_damaged_file_is_computed_anew(damage, root, cached, tmp_path, capsys):
    shutil.copytree(root / "cache", tmp_path / "cache")
    content = bytearray(file(root).read_bytes())
    content[-3] ^= 1
    spoiled = {"cut": content[:-5], "flipped": content, "emptied": b""}[damage]
    file(tmp_path).write_bytes(spoiled)
    config = tiny_run.config(
        root, tmp_path / "run", reference="cached", reference_cache=str(tmp_path / "cache")
    )
    (tmp_path / "run").mkdir()
    run_context.prepare(config, tmp_path / "run", print)
    output = capsys.readouterr().out
    assert f"{file(tmp_path)}: " in output and "computing log-probs" in output
    for name, value in load_file(file(root)).items():
        np.testing.assert_array_equal(load_file(file(tmp_path))[name], value)


def other_model(source):
    tiny_run.write_model(source / "model", initializer_range=0.3)


def other_tokenizer(source):
    path = source / "model" / "tokenizer.json"
    path.write_text(path.read_text().replace('"dropout": null', '"dropout": 0.0'))


def other_template(source):
    path = source / "model" / "chat_template.jinja"
    path.write_text(path.read_text() + "{# the same tokens #}")


def other_data(source):
    rows = tiny_run.records()[tiny_run.TRAIN_ROWS :]
    tiny_run.write_rows(source / "test.jsonl", [*rows[1:], rows[0]])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_model, {"model config", "model weights"}),
        (other_tokenizer, {"tokenizer"}),
        (other_template, {"chat template"}),
        (other_data, {"test rows", "test tokens"}),
    ],
    ids=["model", "tokenizer", "template", "data"],
)
def test_a_file_of_other_inputs_is_refused(change, named, root, cached, tmp_path):
    for name in ("model", "cache"):
        shutil.copytree(root / name, tmp_path / name)
    for name in ("train.jsonl", "test.jsonl"):
        shutil.copyfile(root / name, tmp_path / name)
    before = {path: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    change(tmp_path)
    after = {path: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert before != after or change is other_data
    content = file(tmp_path).read_bytes()
    config = tiny_run.config(
        tmp_path, tmp_path / "run", reference="cached", reference_cache=str(tmp_path / "cache")
    )
    with pytest.raises(ConfigError, match="was computed from other inputs") as caught:
        loop.run(config)
    assert {line.strip().split(":")[0] for line in str(caught.value).splitlines()[1:]} == named
    assert file(tmp_path).read_bytes() == content


def test_the_compute_dtype_counts(root, cached, tmp_path):
    config = tiny_run.config(
        root,
        tmp_path / "run",
        reference="cached",
        reference_cache=str(root / "cache"),
        model__compute_dtype="bfloat16",
    )
    with pytest.raises(ConfigError, match="compute dtype: float32 there, bfloat16 now"):
        loop.run(config)
