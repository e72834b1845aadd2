"""The planner's bytes beside XLA's, for the true presets compiled for real TPU topologies.

    TPU_SKIP_MDS_QUERY=1 JAX_PLATFORMS=cpu python -m benchmarks.memory
    ... python -m benchmarks.memory --models qwen3-4b --topology v5e:2x4 --rows 8 --reference cached
    ... python -m benchmarks.memory --models qwen3-4b --meshes 2x4x1 1x4x2 --rows 8
    ... python -m benchmarks.memory --models qwen3-4b --row-length 32768
    ... python -m benchmarks.memory --models qwen3-4b --topology v5p:1x1x1 --rows 4 \
            --rows-per-device 4 --reference cached

Needs libtpu (the extra ``tpu``) but no TPU: the train step is compiled from shapes alone, minutes
a program. Prints Markdown: the arguments (parameters, moments, reference, batch), which have to
agree to the byte but for the alignment of arrays, and the largest memory at any moment.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import itertools
import json
import math
import pathlib
import tempfile
from typing import Any

import jax
from jax.experimental import topologies

from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.hf.config import to_hf
from dignified_jax.models.lora import LoraConfig
from dignified_jax.objectives import LagDPO
from dignified_jax.planning import plan as planning
from dignified_jax.planning import shapes
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.run import devices
from dignified_jax.training.step.optimizer import make_optimizer
from dignified_jax.training.step.sharding import MeshConfig, make_mesh
from dignified_jax.training.step.train_step import make_train_step

# Of Qwen/Qwen3-4B-Instruct-2507, meta-llama/Meta-Llama-3-8B-Instruct and -70B-Instruct.
MODELS = {
    "qwen3-4b": DecoderConfig(
        architecture="Qwen3ForCausalLM",
        vocab_size=151936,
        hidden_size=2560,
        intermediate_size=9728,
        num_layers=36,
        num_heads=32,
        num_kv_heads=8,
        head_dim=128,
        rope_theta=5e6,
        tie_word_embeddings=True,
    ),
    "llama3-8b": DecoderConfig(
        architecture="LlamaForCausalLM",
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_layers=32,
        num_heads=32,
        num_kv_heads=8,
        head_dim=128,
        rope_theta=5e5,
    ),
    "llama3-70b": DecoderConfig(
        architecture="LlamaForCausalLM",
        vocab_size=128256,
        hidden_size=8192,
        intermediate_size=28672,
        num_layers=80,
        num_heads=64,
        num_kv_heads=8,
        head_dim=128,
        rope_theta=5e5,
    ),
}

CONFIG = TrainConfig(method=LagDPO())


def compiled(plan: planning.Plan, on: list[Any], **options: Any) -> Any:
    """XLA's `CompiledMemoryStats` of a plan's train step for the devices `on`.

    Args:
      plan, on: as `lowered`.
      **options: of XLA's compiler.
    """
    return lowered(plan, on).compile(compiler_options=options).memory_analysis()


def lowered(plan: planning.Plan, on: list[Any]) -> Any:
    """A plan's train step for the devices `on`, to be compiled.

    Args:
      plan: whose mesh those devices make.
      on: devices, there or of a topology.
    """
    config = plan.config
    mesh = make_mesh(dataclasses.replace(config.mesh, **dict(plan.mesh.shape)), on)
    arguments = shapes.step_arguments(config, plan.model, mesh, plan.shape)
    module = shapes.decoder(config, plan.model, plan.attention)
    optimizer = make_optimizer(config.optimizer, total_steps=1)
    step = make_train_step(module, config.method, optimizer, mesh)
    return step.lower(*arguments)


def plan_of(
    model: DecoderConfig, on: str, rows: int, config: TrainConfig = CONFIG
) -> planning.Plan:
    """The plan of a geometry without files, on devices as `devices.parse` reads them."""
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "config.json"
        file.write_text(json.dumps(to_hf(model, "bfloat16")), encoding="utf-8")
        there = dataclasses.replace(config, model=dataclasses.replace(config.model, path=directory))
        return planning.make(there, *devices.parse(on), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["qwen3-4b", "llama3-8b"])
    parser.add_argument("--topology", default="v5p:2x2x2", help="as libtpu names them")
    parser.add_argument(
        "--meshes",
        nargs="+",
        type=_mesh,
        default=[CONFIG.mesh],
        help="data x fsdp x tensor devices; 1 x all x 1 by default",
    )
    parser.add_argument("--rows", type=int, default=8, help="packed rows of a step")
    parser.add_argument("--rows-per-device", type=int, default=1, help="computed at a time")
    parser.add_argument("--row-length", type=int, default=4096, help="tokens of a packed row")
    parser.add_argument("--reference", choices=("resident", "cached"), default="resident")
    parser.add_argument(
        "--mu-dtype",
        choices=("float32", "bfloat16"),
        default=CONFIG.optimizer.mu_dtype,
        help="of Adam's first moment",
    )
    parser.add_argument("--lora-rank", type=int, help="train LoRA; whole models by default")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)  # it can't read such programs back
    on = topology(arguments.topology)
    kind = f"{len(on)}x{arguments.topology.partition(':')[0]}"
    versions = f"jax {jax.__version__}, libtpu {importlib.metadata.version('libtpu')}"
    step = (
        f"{arguments.rows} rows of {arguments.row_length} tokens, reference {arguments.reference}"
    )
    if arguments.lora_rank is not None:
        step += f", LoRA of rank {arguments.lora_rank}"
    print(f"{versions}, {arguments.topology}; {step}; GB on each device\n")
    print("| | arguments | XLA | most at a time | XLA | plan ÷ XLA | XLA reserves |")
    print("|---|---|---|---|---|---|---|")
    for name, mesh in itertools.product(arguments.models, arguments.meshes):
        config = dataclasses.replace(
            CONFIG,
            mesh=mesh,
            rows_per_device=arguments.rows_per_device,
            reference=arguments.reference,
            lora=LoraConfig(arguments.lora_rank),
            optimizer=dataclasses.replace(CONFIG.optimizer, mu_dtype=arguments.mu_dtype),
            data=dataclasses.replace(CONFIG.data, row_length=arguments.row_length),
        )
        plan = plan_of(MODELS[name], kind, arguments.rows, config)
        parts = plan.parts
        axes = " x ".join(f"{axis} {size}" for axis, size in plan.mesh.shape.items())
        try:
            found = compiled(plan, on)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            # The compiler says what it would take (its G are GiB).
            print(f"| {name}, {axes} | {parts.arguments / 1e9:.3f} | | {parts.total / 1e9:.3f} | |")
            print(f"\n{str(error).splitlines()[0]}\n", flush=True)
            continue
        most = found.peak_memory_in_bytes
        sizes = (parts.arguments, found.argument_size_in_bytes, parts.total, most)
        cells = " | ".join(f"{size / 1e9:.3f}" for size in sizes)
        reserved = found.argument_size_in_bytes + found.temp_size_in_bytes
        print(
            f"| {name}, {axes} | {cells} | {parts.total / most:.3f} | {reserved / 1e9:.3f} |",
            flush=True,
        )


def topology(name: str) -> list[Any]:
    """Devices of a TPU topology, none of which is there; of one chip too, as "v5p:1x1x1"."""
    chips = tuple(map(int, name.partition(":")[2].split("x")))
    bounds = {"chips_per_host_bounds": (*chips, 1)[:3]} if math.prod(chips) == 1 else {}
    return list(topologies.get_topology_desc(name, platform="tpu", **bounds).devices)


def _mesh(text: str) -> MeshConfig:
    """1x4x2: data, fsdp and tensor devices."""
    return MeshConfig(*map(int, text.split("x")))


if __name__ == "__main__":
    main()
