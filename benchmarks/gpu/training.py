"""Time and memory of a train step with random weights, beside what the planner says."""

from __future__ import annotations

import argparse
import statistics
import time

import jax

from benchmarks.gpu import problem
from benchmarks.gpu.result import Result, emit
from benchmarks.gpu.sizes import SIZES, Training
from benchmarks.memory import plan_of
from dignified_jax.models.lora import LoraConfig
from dignified_jax.training.run import devices
from dignified_jax.training.step import flops


def title(training: Training) -> str:
    """Names a training, for the report."""
    what = "whole model" if training.lora_rank is None else f"LoRA of rank {training.lora_rank}"
    return f"{training.model}, {what}, {training.rows} rows of {training.row_length:,}"


def measure(training: Training, steps: int) -> None:
    """Emits speed and memory of a train step in bfloat16."""
    part = f"train step, {title(training)}"
    device = jax.devices()[0]
    made = problem.make(training, "bfloat16", device)
    reference = problem.no_reference(made)
    began = time.perf_counter()
    compiled = made.step.lower(made.state, made.inputs(reference)).compile()
    emit(Result(part, "compile", time.perf_counter() - began, "s"))
    account = compiled.memory_analysis()
    state, seconds, finite = made.state, [], True
    for _ in range(1 + steps):
        began = time.perf_counter()
        state, report = jax.block_until_ready(compiled(state, made.inputs(reference)))
        seconds.append(time.perf_counter() - began)
        finite &= bool(report["finite"])
    median = statistics.median(seconds[1:])
    batch = made.batch
    examples = int(batch.response_mask[:, 0].sum())
    useful = flops.useful_flops(made.model, batch, False, LoraConfig(training.lora_rank))
    emit(Result(part, "finite", passed=finite))
    note = f"median of {steps}; {min(seconds[1:]):.4g} to {max(seconds[1:]):.4g}"
    emit(Result(part, "step", median, "s", note=note))
    emit(Result(part, "examples", examples / median, "1/s", note="a prompt, golden, 4 rejects"))
    emit(Result(part, "useful tokens", flops.useful_tokens(batch) / median, "1/s"))
    peak = flops.peak_flops(device.device_kind, "bfloat16")
    note = f"no peak is known of {device.device_kind}" if peak is None else f"of {peak:.4g} FLOP/s"
    emit(Result(part, "MFU", None if peak is None else useful / median / peak, note=note))
    _memory(part, training, device, account)


def _memory(part: str, training: Training, device: jax.Device, account: object) -> None:
    """What was most on the device, beside XLA's account and the planner's."""
    name = next(
        (
            name
            for name, kind in devices.DEVICES.items()
            if device.device_kind.startswith(kind.kind)
        ),
        devices.CPU,
    )
    configuration = problem.config(training, "bfloat16")
    plan = plan_of(problem.GEOMETRIES[training.model], name, training.rows, configuration)
    planned = plan.parts.total
    note = f"assumes examples of equal length on {name}"
    emit(Result(part, "memory, planner", planned / 1e9, "GB", note=note))
    reserved = account.argument_size_in_bytes + account.temp_size_in_bytes
    note = f"{reserved / planned:.3f} of the planner's; arguments and temporaries"
    emit(Result(part, "memory, XLA reserves", reserved / 1e9, "GB", note=note))
    stats = device.memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        used = stats["peak_bytes_in_use"]
        note = f"{used / planned:.3f} of the planner's; drawing the weights is part of it"
        emit(Result(part, "memory, most in use", used / 1e9, "GB", note=note))
    else:
        emit(Result(part, "memory, most in use", note="skipped: this device does not tell"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--number", type=int, required=True, help="of the size's trainings")
    options = parser.parse_args()
    measure(SIZES[options.size].trainings[options.number], SIZES[options.size].steps)
