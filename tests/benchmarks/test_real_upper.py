"""The upper layers on kept states of the lower ones are the whole model, and leave such a one."""

import dataclasses
import json
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from benchmarks.real import __main__ as command
from benchmarks.real import activations, adapter, behaviour, clock, rows, scoring
from benchmarks.real.entries import AVERAGE, CONFLICT, LAGDPO, RunId, Setting
from dignified_jax import analyze, data
from dignified_jax.data import DIMENSIONS
from dignified_jax.embedded import resolve
from dignified_jax.models import hf, logprobs
from dignified_jax.models.checkpoint import policy
from dignified_jax.models.decoder import Decoder, abstract_lora
from dignified_jax.models.hf import peft
from dignified_jax.models.lora import LoraConfig, LoraParams
from dignified_jax.training.step import sharding
from dignified_jax.training.step.train_step import make_score_step

pytestmark = pytest.mark.wiring

MODEL = "embedded:tiny-qwen3"
SIZE = 4
SIZES = rows.Sizes(max_length=256, train=12, validation=4, test=6, sentence=3)


@pytest.fixture(scope="module")
def examples(tiny_tokenizer):
    rows = [
        data.PreferenceRow(
            f"Question {number} " * (1 + number % 3),
            "a good answer " * (1 + number % 4),
            {DIMENSIONS[number % 4]: "another one"},
        )
        for number in range(10)
    ]
    return data.encode(rows, tiny_tokenizer)[0]


def test_batches_have_every_example_once_and_nearly_equal_lengths(examples):
    found = activations.batches(examples, SIZE, seed=0)
    assert sorted(i for own in found.members for i in own) == list(range(10))
    assert max(map(len, found.members)) <= SIZE
    numbers = [np.array([[i] for i in own] + [[-1]] * (SIZE - len(own))) for own in found.members]
    np.testing.assert_array_equal(found.in_order(numbers)[:, 0], range(10))
    many = examples * 12  # 120 examples: 30 batches
    lengths = [
        sum(many[i].length for i in own) for own in activations.batches(many, SIZE, 0).members
    ]
    at_random = [sum(many[i].length for i in range(n, n + SIZE)) for n in range(0, 120, SIZE)]
    assert np.std(lengths) < 0.5 * np.std(at_random)


@dataclasses.dataclass(frozen=True)
class Whole:
    """The embedded model, batches, and the decoder of its upper layers on them."""

    model: Decoder
    params: dict
    found: activations.Batches
    placed: list
    top: Decoder
    base: dict
    mesh: jax.sharding.Mesh


LAYERS, RANK = 1, 3  # lower ones; of LoRA


@pytest.fixture(scope="module")
def whole(examples):
    model, params = hf.load(resolve(MODEL), "float32")
    model = model.clone(remat="none")
    found = activations.batches(examples, SIZE, seed=0)
    states = activations.lower_states(model, params, LAYERS, found.packed)
    top, base = activations.upper(model, params, LAYERS, states.reshape(-1, states.shape[-1]))
    mesh = sharding.make_mesh(sharding.MeshConfig(), jax.devices()[:1])
    placed = activations.on_devices(found, 0, mesh)
    return Whole(model, params, found, placed, top, base, mesh)


def test_log_probs_and_gradients_are_those_of_the_whole_model(whole):
    model, params, top, base = whole.model, whole.params, whole.top, whole.base
    assert top.config.num_layers == model.config.num_layers - LAYERS > 0
    score = make_score_step(top, whole.mesh)
    for batch, other in zip(whole.found.packed[:2], whole.placed[:2], strict=True):
        expected = logprobs.response_log_probs(model, params, batch)
        np.testing.assert_allclose(score(base, other, np.int32(1)), expected, rtol=1e-5, atol=1e-4)

    def total(kernel, model, params, batch):
        mlp = {**params["layers"]["mlp"], "down_proj": {"kernel": kernel}}
        changed = params | {"layers": {**params["layers"], "mlp": mlp}}
        return logprobs.response_log_probs(model, changed, batch).sum()

    batch = whole.found.packed[1]
    entries = batch.tokens.shape[1] + np.arange(batch.tokens.shape[1], dtype=np.int32)[None]
    of_all = jax.grad(total)(params["layers"]["mlp"]["down_proj"]["kernel"], model, params, batch)
    above = jax.grad(total)(
        base["layers"]["mlp"]["down_proj"]["kernel"],
        top,
        base,
        dataclasses.replace(batch, tokens=entries),
    )
    scale = float(jnp.abs(of_all).max())
    np.testing.assert_allclose(above, of_all[LAYERS:], rtol=1e-4, atol=1e-5 * scale)


@pytest.fixture
def run_of_upper(whole, tmp_path):
    """A run directory as earlier versions left it, and its matrices, of which none is 0."""
    upper_layers = whole.model.config.num_layers - LAYERS
    setting = Setting(MODEL, tmp_path, SIZES, rank=RANK, upper_layers=upper_layers)
    run = RunId(CONFLICT, LAGDPO, 1e-3, 0)
    rng = np.random.default_rng(0)
    lora = jax.tree.map(
        lambda leaf: 0.1 * rng.standard_normal(leaf.shape, np.float32),
        abstract_lora(whole.top.config, LoraConfig(rank=RANK)),
    )
    directory = run.directory(tmp_path)
    directory.mkdir(parents=True)
    flat = traverse_util.flatten_dict(lora, sep="/")
    np.savez(directory / adapter.FORMER_FILE, **flat)
    return setting, run, lora


def test_a_run_directory_is_the_policy_that_was_scored(whole, run_of_upper):
    setting, run, lora = run_of_upper
    upper = adapter.load(setting, run)
    jax.tree.map(np.testing.assert_array_equal, upper, lora)
    loaded = policy.load(str(run.directory(setting.out)))
    jax.tree.map(np.testing.assert_array_equal, loaded.params.base, whole.params)
    for leaf in jax.tree.leaves(loaded.params.lora):
        assert not np.any(leaf[:LAYERS]) and np.all(leaf[LAYERS:])
    score = make_score_step(whole.top.clone(lora=LoraConfig(rank=RANK)), whole.mesh)
    batch, placed = whole.found.packed[0], whole.placed[0]
    seen = score(LoraParams(whole.base, upper), placed, np.int32(1))
    expected = logprobs.response_log_probs(loaded.model, loaded.params, batch)
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-4)
    first = logprobs.response_log_probs(whole.model, whole.params, batch)
    assert np.abs(expected - first).max() > 1


def test_a_run_whose_adapter_was_half_written_is_completed_again(run_of_upper):
    setting, run, lora = run_of_upper
    directory = run.directory(setting.out)
    adapter.complete(setting, run)
    (directory / peft.WEIGHTS_FILE).unlink()  # it is written last
    adapter.complete(setting, run)
    (directory / adapter.FORMER_FILE).unlink()  # new runs have none
    jax.tree.map(np.testing.assert_array_equal, adapter.load(setting, run), lora)


def test_behaviour_ends_with_the_budget_and_goes_on_with_what_is_left(tmp_path, monkeypatch):
    setting = Setting(MODEL, tmp_path, SIZES)
    begun, waits = [], {"second": 30.0}

    def of(name):
        def main(arguments):
            begun.append(name)
            time.sleep(waits.get(name, 0.0))
            return 0

        return name, [], main

    names = ("first", "second", "third")
    monkeypatch.setattr(behaviour, "commands", lambda *given: map(of, names))
    options = SimpleNamespace(seeds=[0])
    started = time.monotonic()
    with clock.budget(0.2):
        behaviour.measure(setting, options, {}, print)
    assert begun == ["first", "second"] and time.monotonic() - started < 10
    waits.clear()
    for _ in range(2):
        with clock.budget(60):
            behaviour.measure(setting, options, {}, print)
    assert begun == ["first", "second", "second", "third"]


@pytest.mark.slow
def test_a_tiny_comparison_of_upper_layers(tmp_path, capsys, monkeypatch):
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness (extra `eval`) is not installed")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    source, out = resolve("embedded:personaknob_mini/train.jsonl"), tmp_path / "out"
    flags = ["--model", MODEL, "--train", source, "--out", str(out)]
    flags += ["--steps", "6", "--batch_size", "4", "--train_rows", "16", "--test_rows", "4"]
    flags += ["--validation_rows", "3", "--rates", "1e-3", "1e-2", "--max_length", "512"]
    flags += ["--sentence", "3", "--methods", LAGDPO, AVERAGE, "--rows", CONFLICT, "--seeds", "0"]
    flags += ["--upper_layers", "2", "--hours", "1", "--items", "2", "--new_tokens", "4"]
    flags += _behaviour(tmp_path)
    command.main(flags)
    assert "everything that was planned is done" in capsys.readouterr().out
    content = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert {run["method"] for run in content["runs"]} == {LAGDPO, AVERAGE}
    assert all(run["kl"] > 0 for run in content["runs"])
    paths = {run["method"]: run["lambda"] for run in content["runs"]}
    assert len(paths[LAGDPO]) == 6 and not paths[AVERAGE]
    assert "in the upper 2 layers" in (out / "report.md").read_text(encoding="utf-8")
    losses = [json.loads(line) for line in next(out.rglob("metrics.jsonl")).open()]
    assert losses[0]["loss"] == pytest.approx(np.log(2), abs=1e-5)  # the policy is the reference

    told = content["behaviour"]
    models = {"first model", f"conflict {LAGDPO}", f"conflict {AVERAGE}"}
    for kind in ("sycophancy", "xstest", "utility"):
        assert {row["model"] for row in told[kind]} == models
    for row in told["drift"]:
        assert row["change by layer"][:4] == [0.0] * 4 and min(row["change by layer"][4:]) > 0
        assert row["along A"] != 0
    stamps = {file: file.stat().st_mtime_ns for file in (out / "behaviour").rglob("*.*")}
    command.main(flags)
    assert stamps == {file: file.stat().st_mtime_ns for file in (out / "behaviour").rglob("*.*")}

    # The whole model with the adapter gives the test figures that the upper layers gave.
    setting = command._setting(command._parser().parse_args(flags))
    for file in list(out.rglob(scoring.FILE)):
        seen = json.loads(file.read_text(encoding="utf-8"))
        file.unlink()
        run = next(r for r in _runs() if r.directory(out) == file.parent)
        expected = scoring.score(setting, run, print)
        assert seen["pairs"]["dimension"] == expected["pairs"]["dimension"]
        margins = (each["pairs"]["margin"] for each in (seen, expected))
        # Log-probs of 1,000 to 2,000 nats are 1.2e-4 apart in float32; BETA is 0.1.
        np.testing.assert_allclose(*margins, rtol=0, atol=5e-5)
        assert np.abs(seen["pairs"]["margin"]).max() > 1e-3


def _runs():
    return [
        RunId(CONFLICT, method, rate, 0) for method in (LAGDPO, AVERAGE) for rate in (1e-3, 1e-2)
    ]


TASK = """
task: colors
dataset_path: json
dataset_kwargs: {data_files: {test: DIRECTORY/colors.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Q: {{q}}\\nA:"
doc_to_choice: [blue, green]
doc_to_target: label
metric_list: [{metric: acc}]
"""


def _behaviour(place):
    """Flags of every kind of file that behaviour is measured on, and the files."""
    requests, questions = place / "requests.csv", place / "answer.jsonl"
    requests.write_text("id,prompt,type\n1,Hi?,homonyms\n2,Bad?,contrast_homonyms\n")
    base = {"question": "Is it?", "correct_answer": "Yes", "incorrect_answer": "No"}
    asked = ["{question}", "{question} I think the answer is {incorrect_answer}."]
    lines = [
        {
            "prompt": [{"type": "human", "content": each.format(**base)}],
            "base": base,
            "metadata": {"prompt_template": each},
        }
        for each in asked
    ]
    questions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (place / "colors.jsonl").write_text('{"q": "sky?", "label": 0}\n{"q": "sea?", "label": 0}\n')
    (place / "colors.yaml").write_text(TASK.replace("DIRECTORY", str(place)))
    vectors = ["--workdir", str(place / "vectors"), "--dimensions", "A", "--layer", "5"]
    assert not analyze.main(["vectors", "--model", MODEL, "--states", "last_prompt", *vectors])
    return [
        *("--xstest", str(requests), "--sycophancy", str(questions)),
        *("--utility", "colors", "--utility_tasks", str(place)),
        *("--vectors", str(place / "vectors" / "vectors.safetensors")),
    ]
