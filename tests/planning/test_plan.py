"""What the planner reads, says and advises."""

import dataclasses
import itertools
import json
import re

import numpy as np
import pytest
from transformers import LlamaConfig, Qwen3Config

from dignified_jax.models.hf.config import read_config
from dignified_jax.models.lora import LoraConfig
from dignified_jax.objectives import SACPO, LagDPO, PCGradDPO, RewardedSoup
from dignified_jax.planning import plan as planning
from dignified_jax.planning import report
from dignified_jax.training.config import DataConfig, ModelConfig, TrainConfig
from dignified_jax.training.inputs import data as input_data
from dignified_jax.training.run import devices
from dignified_jax.training.step import flops
from dignified_jax.training.step.optimizer import OptimizerConfig
from dignified_jax.training.step.sharding import MeshConfig
from tests.oracles import tiny_run

GB = 1e9


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    """Qwen3-4B's config.json, as transformers writes it, and nothing else."""
    directory = tmp_path_factory.mktemp("qwen3-4b")
    Qwen3Config(
        **{"vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728},
        **{"num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8},
        **{"head_dim": 128, "tie_word_embeddings": True, "architectures": ["Qwen3ForCausalLM"]},
        rope_parameters={"rope_type": "default", "rope_theta": 5e6},
    ).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """Llama-3-8B's."""
    directory = tmp_path_factory.mktemp("llama3-8b")
    LlamaConfig(
        **{"vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336},
        **{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8},
        architectures=["LlamaForCausalLM"],
        rope_parameters={"rope_type": "default", "rope_theta": 5e5},
    ).save_pretrained(directory)
    return directory


def config_of(directory, **changes):
    return TrainConfig(method=LagDPO(), model=ModelConfig(path=str(directory)), **changes)


def plan(config, on, rows=None):
    return planning.make(config, *devices.parse(on), rows)


def test_bytes_for_each_parameter(qwen, llama):
    """DESIGN by hand: 4 for the parameter, 8 for the moments, 2 for a resident reference."""
    for directory, count in ((qwen, 4_022_468_096), (llama, 8_030_261_248)):
        assert planning.parameters(read_config(directory)) == count
        parts = plan(config_of(directory), "h200", 1).parts
        assert parts.parameters == 4 * count
        assert parts.optimizer == pytest.approx(8 * count, rel=1e-8)  # and two step counters
        scales = 4 * 2_000_000  # norms stay in float32
        assert parts.reference == pytest.approx(2 * count, abs=scales)
        cached = plan(config_of(directory, reference="cached"), "h200", 1).parts
        assert cached.reference == 2 * 5 * 4  # log-probs of a row's two examples
        divided = plan(config_of(directory), "8xh200", 8).parts
        assert divided.parameters == pytest.approx(parts.parameters / 8, abs=scales)


def test_whole_models_on_one_card(qwen, llama):
    """No cast copy of all layers beside parameters, gradients and moments."""
    cached = {"reference": "cached", "rows_per_device": 4}
    assert plan(config_of(qwen, **cached), "h200", 4).parts.total < 72 * GB
    narrow = OptimizerConfig(mu_dtype="bfloat16")
    assert plan(config_of(llama, optimizer=narrow, **cached), "h200", 4).parts.total < 128 * GB


def test_rows_are_those_of_the_training_data(root, tmp_path):
    config = tiny_run.config(root, tmp_path / "run")
    made = plan(config, "2xcpu")
    stream = input_data.prepare_data(config, tmp_path, rows_per_step=2).streams["train"]
    assert (made.rows, made.shape.rows) == ("counted in the training data", 2)
    assert made.shape.steps * 2 == stream.rows
    assert made.shape.capacity == stream.capacity
    batches = [stream.batch(step) for step in range(stream.steps_per_epoch)]
    useful = [flops.useful_flops(made.model, batch, True) for batch in batches]
    assert made.useful_flops == pytest.approx(np.mean(useful), rel=1e-12)
    assert not (tmp_path / "run").exists()


def test_rows_are_assumed_without_data_or_tokenizer(root, qwen, tmp_path):
    missing = tiny_run.config(root, tmp_path, data__train=str(tmp_path / "nowhere.jsonl"))
    made = plan(missing, "2xcpu")
    assert made.rows.startswith("assumed: ") and "nowhere.jsonl: no such file" in made.rows
    made = plan(config_of(qwen), "h200")
    assert made.rows == f"assumed: there is no tokenizer in {qwen}"
    # 16 examples of 6 x 256 tokens, two in a row of 4096, a row at a time.
    assert (made.shape.steps, made.shape.rows) == (8, 1)
    assert made.shape.capacity.slots == 2 * 5 * 256


def test_bad_rows_are_not_taken_for_missing_ones(root, tmp_path):
    file = tmp_path / "bad.jsonl"
    file.write_text(json.dumps({"prompt": "?"}) + "\n")
    with pytest.raises(ValueError, match=r"bad\.jsonl"):
        plan(tiny_run.config(root, tmp_path, data__train=str(file)), "2xcpu")


def test_given_rows_are_spread_over_the_devices(qwen):
    for rows, on, expected in ((16, "8xv5p", (2, 8)), (3, "h200", (3, 1)), (5, "2xv5p", (3, 2))):
        shape = plan(config_of(qwen), on, rows).shape
        assert (shape.steps, shape.rows) == expected


def test_flops_by_hand(qwen):
    """Of 2 rows of 2 examples of 6 x 256 tokens; DESIGN: 6 for each weight and token."""
    tokens, predicted = 4 * 6 * 256, 4 * 5 * 256
    triangle = 256 * 257 // 2
    pairs = 4 * (6 * triangle + 5 * 256 * 256)
    layers = 36 * 2560 * (128 * (2 * 32 + 2 * 8) + 3 * 9728)
    forward = 2 * (tokens * layers + predicted * 2560 * 151936 + 2 * pairs * 36 * 32 * 128)
    assert plan(config_of(qwen), "2xv5p", 2).useful_flops == pytest.approx(4 * forward, rel=1e-12)
    cached = plan(config_of(qwen, reference="cached"), "2xv5p", 2)
    assert cached.useful_flops == pytest.approx(3 * forward, rel=1e-12)
    said = report.text(cached)
    assert f"{3 * forward:.3g} useful, {4 * forward:.3g} with the layers computed twice" in said
    seconds = 3 * forward / (0.4 * 2 * 459e12)
    assert f"{seconds:.3g} s if 40% of the peak were useful (an assumption)" in said


def test_what_fits_is_said_without_advice(qwen):
    said = report.text(plan(config_of(qwen), "8xv5p", 8))
    assert said.startswith(
        "Qwen3ForCausalLM, 4.02 billion parameters, on 8 x TPU v5p (data 1 x fsdp 8 x tensor 1), "
        "attention splash\na step: 8 rows of 4096 tokens (given; examples assumed), 1 on a device "
        "at a time, in 1 accumulation step\n"
    )
    assert re.search(r"\n  total +1[23]\.\d+ of 95: fits\nFLOPs", said)
    listed = [float(number) for number in re.findall(r"\n  [a-z ]+ +([\d.]+)", said)]
    assert sum(listed[:-1]) == pytest.approx(listed[-1], abs=0.01)


def test_advice_is_what_a_plan_with_it_saves(llama):
    """On one H200 an 8B model does not fit, and accumulation is what costs most."""
    config = config_of(llama)
    before = plan(config, "h200", 4)
    said = report.text(before)
    assert "does not fit" in said
    changed = {
        "--config.lora.rank=16": dataclasses.replace(config, lora=LoraConfig(rank=16)),
        "--config.reference=cached": dataclasses.replace(config, reference="cached"),
        "--config.rows_per_device=4": dataclasses.replace(config, rows_per_device=4),
    }
    for flag, other in changed.items():
        saved = before.parts.total - plan(other, "h200", 4).parts.total
        (line,) = (line for line in said.splitlines() if line.startswith(f"  {flag} "))
        assert float(line.split()[1]) == pytest.approx(saved / GB, abs=0.02)
    assert saved > 0.6 * before.parts.accumulators > 15 * GB
    assert re.search(r"  2 devices, the new ones in fsdp +\d+", said)


def test_rows_of_one_device_are_advised_to_shrink(qwen):
    before = plan(config_of(qwen, rows_per_device=64, mesh=MeshConfig(data=2)), "8xv5e", 512)
    changed = report.alternatives(before)
    halved = next(plan for flag, plan in changed if flag == "--config.rows_per_device=32")
    assert halved.parts.activations == pytest.approx(before.parts.activations / 2, rel=0.01)
    assert halved.parts.accumulators > before.parts.accumulators == 0
    flags = [flag for flag, _ in itertools.islice(changed, 2)]
    assert flags == ["--config.data.row_length=2048", "--config.mesh.data=1 --config.mesh.fsdp=8"]
    # What the run would refuse is not advised: slices hold whole replicas, rows whole examples.
    sections = {
        "mesh": MeshConfig(data=2, slices=2),
        "data": dataclasses.replace(before.config.data, max_length=3000),
    }
    other = dataclasses.replace(before, config=dataclasses.replace(before.config, **sections))
    advised = [flag for flag, _ in report.alternatives(other)]
    assert not [flag for flag in advised if "mesh.data" in flag or "row_length" in flag]


def test_what_layers_need_not_keep_is_advised(qwen):
    config = config_of(qwen)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, remat="none"))
    kept = plan(config, "8xv5p", 8)
    changed = report.alternatives(kept)
    full = next(plan for flag, plan in changed if flag == "--config.model.remat=full")
    assert kept.parts.activations > 20 * full.parts.activations
    narrow = next(plan for flag, plan in changed if flag == "--config.optimizer.mu_dtype=bfloat16")
    saved = kept.parts.optimizer - narrow.parts.optimizer
    assert saved == pytest.approx(2 * 4_022_468_096 / 8, rel=1e-3)
    assert "computed twice" not in report.text(kept)


def test_verdicts_leave_room_for_the_formulas_error(qwen):
    made = plan(config_of(qwen), "8xv5p", 8)
    total = made.parts.total

    def verdict(size):
        device = dataclasses.replace(made.device, memory=int(size))
        return report.verdict(dataclasses.replace(made, device=device))

    assert verdict(1.12 * total) == "fits"
    assert verdict(1.05 * total) == "may fit; this count is good to 10%"
    assert verdict(0.99 * total) == "does not fit"


def test_methods_of_several_stages_are_planned_by_their_first(qwen):
    for method in (SACPO(beta=0.2), RewardedSoup(beta=0.2)):
        config = dataclasses.replace(config_of(qwen), method=method)
        made = plan(config, "8xv5p", 8)
        assert made.config.method.name == "multi_negative" and made.config.method.beta == 0.2


def test_pcgrad_holds_a_gradient_for_each_dimension(qwen):
    config = dataclasses.replace(config_of(qwen), method=PCGradDPO())
    made = plan(config, "8xv5p", 8)
    assert made.parts.accumulators >= 3 * made.parts.parameters
    config = dataclasses.replace(config, method=PCGradDPO(golden_nll=1.0))
    beside = plan(config, "8xv5p", 8).parts.accumulators - made.parts.accumulators
    assert beside >= 0.9 * made.parts.parameters  # one more, of the golden's NLL


def test_a_mesh_that_does_not_fit_is_refused(qwen):
    with pytest.raises(ValueError, match=r"1 x 4 x 1 = 4, but there are 8 devices"):
        plan(config_of(qwen, mesh=MeshConfig(fsdp=4)), "8xv5p", 8)
    with pytest.raises(ValueError, match=r"mesh\.tensor=16 does not divide"):
        plan(config_of(qwen, mesh=MeshConfig(tensor=16)), "16xv5p", 8)


def test_a_row_length_too_short_for_the_assumed_examples_shrinks_them(qwen):
    config = config_of(qwen, data=DataConfig(row_length=100))
    assert plan(config, "h200", 3).shape.capacity.slots == 80


def test_lora_is_trained_beside_one_frozen_copy(qwen):
    """By hand: 12 bytes for each of LoRA's parameters, 2 for each of the base's, no reference."""
    made = plan(config_of(qwen, lora=LoraConfig(rank=16)), "2xv5p", 2)
    sides = 2 * (2560 + 4096) + 2 * (2560 + 1024) + 3 * (2560 + 9728)
    count = 36 * 16 * sides
    scales = 2_000_000  # norms stay in float32
    assert made.parts.parameters == 4 * count / 2
    assert made.parts.optimizer == pytest.approx(8 * count / 2, abs=8)  # two step counters
    assert made.parts.base == pytest.approx(2 * 4_022_468_096 / 2, abs=scales)
    assert made.parts.reference == 0
    whole = plan(config_of(qwen), "2xv5p", 2)
    assert made.parts.gradients < 0.02 * whole.parts.gradients
    # The inputs of layers; of the embedding and the last norm a whole model keeps more.
    kept = whole.moments["layers, backward pass"].activations
    assert 0.9 * kept < made.parts.activations < kept

    # Two rows of 2 examples of 6 x 256 tokens, two matrices a target and a multiply-add each.
    beside = 2 * 4 * 6 * 256 * count
    assert made.forward_flops - whole.forward_flops == pytest.approx(beside, rel=1e-9)
    assert whole.useful_flops == 4 * whole.forward_flops
    weights = 2 * (4 * 6 * 256 * 36 * 2560 * (128 * 80 + 3 * 9728) + 4 * 5 * 256 * 2560 * 151936)
    expected = 4 * whole.forward_flops - weights + 3 * beside  # no gradients of the weights
    assert made.useful_flops == pytest.approx(expected, rel=1e-12)
    assert ", 4.02 billion parameters, LoRA of rank 16, on 2 x TPU v5p" in report.text(made)
    assert not any("lora" in flag for flag, _ in report.alternatives(made))
