"""The planner's bytes against XLA's compiled memory analysis, at sizes where one part dominates.

XLA's scheduler for CPUs prefers concurrency to memory; here it is told otherwise, as on GPUs and
TPUs.
"""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import pytest

from benchmarks import memory as benchmark
from dignified_jax.data.batch import Capacity
from dignified_jax.models.config import DecoderConfig, Experts
from dignified_jax.models.decoder import Decoder
from dignified_jax.models.lora import LoraConfig
from dignified_jax.planning import activations
from dignified_jax.training.config import DataConfig

OPTIONS = {
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
    # Machine code, which is not run, comes after the buffers are laid out.
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
SMALL = DecoderConfig(
    architecture="Qwen3ForCausalLM",
    vocab_size=2048,
    hidden_size=128,
    intermediate_size=256,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
    rope_theta=1e6,
    tie_word_embeddings=True,
)


def plan_of(length, *, rows=2, remat="full", lora=LoraConfig(), **sizes):  # noqa: B008
    """Of a geometry in float32 on two devices that split the parameters."""
    model = {"compute_dtype": "float32", "remat": remat}
    config = dataclasses.replace(
        benchmark.CONFIG,
        model=dataclasses.replace(benchmark.CONFIG.model, **model),
        data=DataConfig(row_length=length),
        lora=lora,
    )
    return benchmark.plan_of(dataclasses.replace(SMALL, **sizes), "2xcpu", rows, config)


DEEP = {"vocab_size": 256, "num_layers": 12, "remat": "none"}
# On CPUs the windows need no part of their own.
GEMMA = {
    **{"architecture": "Gemma3ForCausalLM", "sliding_window": 128, "sliding_layers": (0,)},
    **{"local_rope_theta": 1e4},
}
MOE = {"architecture": "Qwen3MoeForCausalLM", "tie_word_embeddings": False, "vocab_size": 256}
LARGE = {"hidden_size": 512, "intermediate_size": 2048, "num_layers": 6, "num_heads": 8}


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("part", "share", "length", "sizes"),
    [
        ("log_probs", 0.4, 256, {"vocab_size": 65536}),
        ("activations", 0.7, 1024, DEEP),
        slow(
            "activations",
            0.7,
            1024,
            DEEP | {"lora": LoraConfig(rank=8, targets=("q_proj", "v_proj"))},
        ),
        slow("layer", 0.7, 4096, GEMMA | {"vocab_size": 256, "intermediate_size": 1024}),
        slow("layer", 0.6, 1024, MOE | {"experts": Experts(8, 2, 256, True)}),
        slow("layer", 0.7, 4096, MOE | {"experts": Experts(8, 2, 512, True)}),
        slow("layer", 0.6, 1024, MOE | {"experts": Experts(8, 2, 1024, True)}),
        slow("activations", 0.7, 1024, GEMMA | DEEP),
        slow("activations", 0.3, 2048, {"vocab_size": 256, "num_layers": 24}),
        slow("layer", 0.4, 2048, {"vocab_size": 256, "num_layers": 24, "lora": LoraConfig(rank=8)}),
        slow("layer", 0.7, 4096, {"vocab_size": 256, "intermediate_size": 1024, "num_layers": 1}),
        slow("accumulators", 0.1, 256, LARGE | {"head_dim": 64, "rows": 6}),
    ],
)
def test_xla_takes_as_much_where_one_part_dominates(part, share, length, sizes):
    """Arguments within a few alignments, all of it within 10 percent."""
    plan = plan_of(length, **sizes)
    found = benchmark.compiled(plan, jax.devices()[:2], **OPTIONS)
    most = found.argument_size_in_bytes + found.temp_size_in_bytes
    assert found.output_size_in_bytes - found.alias_size_in_bytes < 10_000  # the state is donated
    assert plan.parts.arguments == pytest.approx(found.argument_size_in_bytes, rel=1e-3)
    assert getattr(plan.parts, part) > share * plan.parts.total
    assert plan.parts.total == pytest.approx(most, rel=0.1)


def test_what_layers_keep_is_their_input_and_what_remat_adds():
    """Of every layer the input with rematerialisation, in the compute dtype."""
    module = Decoder(SMALL, attention="blocks", dtype=jnp.bfloat16)
    rows = activations.Rows(2, 384, Capacity(320, 6, 64, 64))

    def kept(layers, **changes):
        config = dataclasses.replace(SMALL, num_layers=layers)
        return activations.residual_bytes(
            module.clone(config=config, **changes), "float32", 1, rows
        )

    assert kept(5) - kept(3) == 2 * rows.tokens * SMALL.hidden_size * 2
    # And no less without it than the products' inputs.
    width = 2 * SMALL.hidden_size + SMALL.num_heads * SMALL.head_dim + SMALL.intermediate_size
    assert kept(5, remat="none") - kept(3, remat="none") > 2 * rows.tokens * width * 2


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the extra tpu")
@pytest.mark.parametrize("name", benchmark.MODELS)
def test_presets_on_real_tpu_topologies(name, monkeypatch):
    """Eight v5p: arguments but for alignment, and the largest memory at any moment."""
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    from jax.experimental import topologies

    plan = benchmark.plan_of(benchmark.MODELS[name], "8xv5p", 8)
    devices = topologies.get_topology_desc("v5p:2x2x2", platform="tpu").devices
    found = benchmark.compiled(plan, list(devices))
    assert plan.parts.arguments == pytest.approx(found.argument_size_in_bytes, rel=1e-3)
    assert plan.parts.total == pytest.approx(found.peak_memory_in_bytes, rel=0.1)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the extra tpu")
def test_one_chip_holds_no_cast_copy_of_all_layers(monkeypatch):
    """Qwen3-4B, four rows at once: 7 GB more where XLA moves the casts out of the loop."""
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    config = dataclasses.replace(benchmark.CONFIG, reference="cached", rows_per_device=4)
    plan = benchmark.plan_of(benchmark.MODELS["qwen3-4b"], "1xv5p", 4, config)
    found = benchmark.compiled(plan, benchmark.topology("v5p:1x1x1"))
    assert found.peak_memory_in_bytes < 72e9
    assert plan.parts.total == pytest.approx(found.peak_memory_in_bytes, rel=0.03)
