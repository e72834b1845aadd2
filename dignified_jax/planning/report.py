"""The text of `python -m dignified_jax.train --plan`: bytes, whether they fit, what would help."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

from jax.sharding import AbstractMesh

from dignified_jax.models import partition
from dignified_jax.models.lora import LoraConfig
from dignified_jax.planning import memory
from dignified_jax.planning.plan import Plan, counted, make, parameters
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.run import devices
from dignified_jax.training.step.sharding import row_devices

# Share of the peak that the printed time of a step assumes.
ASSUMED_MFU = 0.4
# How far XLA's own count may be from ours (benchmarks/memory.py).
TOLERANCE = 0.1
MOST_ROWS = 2**17  # each is planned by itself


def report(config: TrainConfig, on: str | None = None, rows: int | None = None) -> str:
    """Returns what `python -m dignified_jax.train --plan` prints.

    Args:
      config: the run's configuration.
      on: devices as `devices.parse` reads them; None for those that JAX finds.
      rows: as `make`.

    Raises:
      FileNotFoundError, ValueError: as `make` and `devices.parse`; more rows than `MOST_ROWS`.
    """
    try:
        kind, count = devices.present() if on is None else devices.parse(on)
    except ValueError as error:
        raise ValueError(f"--plan_devices: {error}") from error
    if rows is not None and rows > MOST_ROWS:
        raise ValueError(f"--plan_rows: expected at most {MOST_ROWS:,}, found {rows}")
    return text(make(config, kind, count, rows))


def alternatives(plan: Plan) -> Iterator[tuple[str, Plan]]:
    """Changes that may save memory, as flags or in words, and the plan with each."""
    config, shape, mesh = plan.config, plan.shape, plan.mesh
    replaced = functools.partial(dataclasses.replace, plan)

    def of_config(**changes: object) -> Plan:
        return counted(replaced(config=dataclasses.replace(config, **changes)))

    if config.method.needs_reference and config.reference == "resident":
        yield "--config.reference=cached", of_config(reference="cached")
    if not config.lora.enabled and config.model.init != "random":
        yield "--config.lora.rank=16", of_config(lora=LoraConfig(rank=16))
    if config.model.remat != "full":
        model = dataclasses.replace(config.model, remat="full")
        yield "--config.model.remat=full", of_config(model=model)
    if config.optimizer.mu_dtype != "bfloat16":
        optimizer = dataclasses.replace(config.optimizer, mu_dtype="bfloat16")
        yield "--config.optimizer.mu_dtype=bfloat16", of_config(optimizer=optimizer)
    if config.rows_per_device > 1:
        half = config.rows_per_device // 2
        rows = half * row_devices(mesh)
        fewer = dataclasses.replace(shape, rows=rows, steps=-(-shape.steps * shape.rows // rows))
        yield f"--config.rows_per_device={half}", counted(replaced(shape=fewer))
    if shape.steps > 1:
        rows = config.rows_per_device * shape.steps
        at_once = dataclasses.replace(shape, rows=shape.rows * shape.steps, steps=1)
        yield f"--config.rows_per_device={rows}", counted(replaced(shape=at_once))
    fits = not plan.rows.startswith("counted") or _longest(plan) <= shape.row_length // 2
    if fits and (config.data.max_length or 0) <= shape.row_length // 2:
        yield f"--config.data.row_length={shape.row_length // 2}", counted(_halved_rows(plan))
    if mesh.shape[partition.DATA_AXIS] > 1 and config.mesh.slices == 1:
        both = mesh.shape[partition.DATA_AXIS] * mesh.shape[partition.FSDP_AXIS]
        yield (
            f"--config.mesh.data=1 --config.mesh.fsdp={both}",
            counted(replaced(mesh=_mesh(mesh, data=1, fsdp=both))),
        )
    doubled = _mesh(mesh, fsdp=2 * mesh.shape[partition.FSDP_AXIS])
    wider = dataclasses.replace(shape, rows=2 * shape.rows, steps=-(-shape.steps // 2))
    yield (
        f"{2 * plan.count} devices, the new ones in fsdp",
        counted(replaced(mesh=doubled, shape=wider, count=2 * plan.count)),
    )


def _longest(plan: Plan) -> int:
    """At most the tokens of one example."""
    capacity = plan.shape.capacity
    return capacity.prompt_block + capacity.responses * capacity.segment_block


def _halved_rows(plan: Plan) -> Plan:
    """Rows half as long, twice as many."""
    shape = plan.shape
    capacity = dataclasses.replace(
        shape.capacity,
        slots=-(-shape.capacity.slots // 2),
        segments=-(-shape.capacity.segments // 2),
    )
    halved = dataclasses.replace(
        shape, steps=2 * shape.steps, row_length=shape.row_length // 2, capacity=capacity
    )
    return dataclasses.replace(plan, shape=halved)


def _mesh(mesh: AbstractMesh, **sizes: int) -> AbstractMesh:
    changed = dict(mesh.shape) | sizes
    return AbstractMesh(tuple(changed.values()), tuple(changed))


def text(plan: Plan) -> str:
    """The plan for a person: bytes by part, whether they fit, what would help, and FLOPs."""
    shape, parts, size = plan.shape, plan.parts, plan.device.memory
    mesh = " x ".join(f"{axis} {count}" for axis, count in plan.mesh.shape.items())
    rank = plan.config.lora.rank
    trained = "" if rank is None else f", LoRA of rank {rank}"
    lines = [
        f"{plan.model.architecture}, {parameters(plan.model) / 1e9:.3g} billion parameters{trained}"
        f", on {plan.count} x {plan.device.kind} ({mesh}), attention {plan.attention}",
        f"a step: {shape.steps * shape.rows} rows of {shape.row_length} tokens "
        f"({plan.rows}), {plan.config.rows_per_device} on a device at a time, in {shape.steps} "
        f"accumulation step{'s' if shape.steps > 1 else ''}",
        f"GB on each device when most is there ({memory.largest(plan.moments)}):",
    ]
    for field in dataclasses.fields(parts):
        if value := getattr(parts, field.name):
            lines.append(f"  {field.name.replace('_', ' '):<16}{value / 1e9:10.3f}")
    lines.append(f"  {'total':<16}{parts.total / 1e9:10.3f} of {size / 1e9:.4g}: {verdict(plan)}")
    if parts.total > (1 - TOLERANCE) * size:
        lines += ["what would save memory, each by itself:", *_savings(plan)]
    return "\n".join([*lines, _flops(plan)])


def verdict(plan: Plan) -> str:
    """Says whether the total fits, given how far the formulas may be off."""
    total, size = plan.parts.total, plan.device.memory
    if total <= (1 - TOLERANCE) * size:
        return "fits"
    if total <= size:
        return f"may fit; this count is good to {TOLERANCE:.0%}"
    return "does not fit"


def _savings(plan: Plan) -> list[str]:
    saved = [
        (plan.parts.total - other.parts.total, flag, other) for flag, other in alternatives(plan)
    ]
    worth = [entry for entry in saved if entry[0] > 0.005 * plan.parts.total]
    worth.sort(key=lambda entry: -entry[0])
    width = max((len(flag) for _, flag, _ in worth), default=0)
    return [
        f"  {flag:<{width}}{amount / 1e9:10.3f}  ({verdict(other)})"
        for amount, flag, other in worth
    ] or ["  nothing known to this plan; take more devices or another model"]


def _flops(plan: Plan) -> str:
    """Useful and executed FLOPs, and the time that an assumed MFU makes of them."""
    line = f"FLOPs of a step: {plan.useful_flops:.3g} useful"
    if plan.config.model.remat == "full":
        line += f", {plan.useful_flops + plan.forward_flops:.3g} with the layers computed twice"
    peak = plan.device.peak_flops(plan.config.model.compute_dtype)
    if peak is None:
        return line
    seconds = plan.useful_flops / (ASSUMED_MFU * plan.count * peak)
    return f"{line}; {seconds:.3g} s if {ASSUMED_MFU:.0%} of the peak were useful (an assumption)"
