"""A run's memory on each device and its FLOPs, before anything is allocated or loaded.

`make` needs the model's config.json; of the data, only how many rows a step has.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh

from dignified_jax.data import DIMENSIONS, RESPONSES, BatchStream, TokenizedExample
from dignified_jax.embedded import resolve
from dignified_jax.models import hf, partition
from dignified_jax.models.config import DecoderConfig, read_config
from dignified_jax.models.decoder import abstract_params
from dignified_jax.objectives.recipes import SACPO, RewardedSoup, single
from dignified_jax.training import abstract, devices, flops, memory, setup
from dignified_jax.training.abstract import BatchShape
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.devices import Device
from dignified_jax.training.sharding import mesh_sizes, row_devices

# Tokens of a prompt, and of each of its five responses, where there is no data to count.
ASSUMED_PIECE = 256
# Share of the peak that the printed time of a step assumes.
ASSUMED_MFU = 0.4
# How far XLA's own count may be from ours (benchmarks/memory.py).
TOLERANCE = 0.1


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run takes.

    Attributes:
      config: of the run, or of its first stage.
      model: the decoder's geometry.
      device, count: the devices' kind and number.
      mesh: their arrangement.
      rows: where the packed rows come from, for a person.
      shape: of a step's rows.
      useful_flops: of a step, over all devices; see `flops.useful_flops`.
      moments: bytes on a device at each moment, see `memory.moments`.
    """

    config: TrainConfig
    model: DecoderConfig
    device: Device
    count: int
    mesh: AbstractMesh
    rows: str
    shape: BatchShape
    useful_flops: float
    moments: dict[str, memory.Parts]

    @property
    def parts(self) -> memory.Parts:
        """At the moment at which most is there."""
        return self.moments[memory.largest(self.moments)]

    @property
    def attention(self) -> str:
        """The computation that "auto" stands for on these devices."""
        chosen = self.config.model.attention
        if chosen != "auto":
            return chosen
        narrow = self.config.model.compute_dtype == "bfloat16"
        return self.device.attention if narrow or self.device.attention != "cudnn" else "segments"


def report(config: TrainConfig, on: str | None = None, rows: int | None = None) -> str:
    """What `python -m dignified_jax.train --plan` prints.

    Args:
      config: the run's configuration.
      on: devices as `devices.parse` reads them; None for those that JAX finds.
      rows: as `make`.

    Raises:
      FileNotFoundError, ValueError: as `make` and `devices.parse`.
    """
    try:
        kind, count = devices.present() if on is None else devices.parse(on)
    except ValueError as error:
        raise ValueError(f"--plan_devices: {error}") from error
    return text(make(config, kind, count, rows))


def make(config: TrainConfig, device: Device, count: int, rows: int | None = None) -> Plan:
    """Plans a run on `count` devices.

    Args:
      config: the run's configuration.
      device: their kind.
      count: their number.
      rows: packed rows of a step over all devices; None counts those of the training data, or,
        where that or the tokenizer is not at hand, of assumed examples.

    Raises:
      FileNotFoundError: no config.json.
      ValueError: the mesh does not fit the devices or the model, and as `data`.
    """
    directory = hf.resolve(resolve(config.model.path), weights=False)
    model = read_config(directory)
    config = dataclasses.replace(config, method=_first_stage(config.method))
    sizes = mesh_sizes(config.mesh, count)
    mesh = AbstractMesh(tuple(sizes.values()), tuple(sizes))
    stream, where = _stream(config, directory, config.rows_per_device * row_devices(mesh), rows)
    resident = config.method.needs_reference and config.reference == "resident"
    steps = range(stream.steps_per_epoch)
    useful = [flops.useful_flops(model, stream.batch(step), resident) for step in steps]
    plan = Plan(
        config=config,
        model=model,
        device=device,
        count=count,
        mesh=mesh,
        rows=where,
        shape=shape_of(stream, config.rows_per_device * row_devices(mesh)),
        useful_flops=float(np.mean(useful)),
        moments={},
    )
    return _counted(plan)


def _first_stage(method: Any) -> Any:
    """The objective of the first training of a method of several; the others are of its size."""
    if isinstance(method, SACPO):
        return method.stages(DIMENSIONS)[0].method
    if isinstance(method, RewardedSoup):
        return single(method.beta, 0, len(DIMENSIONS))
    return method


def _stream(
    config: TrainConfig, directory: pathlib.Path, rows_per_step: int, rows: int | None
) -> tuple[BatchStream, str]:
    """Batches of the training data or of assumed examples, and which of them."""
    if rows is not None:
        return _assumed(config, rows_per_step, rows), "given; examples assumed"
    tokenizers = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
    if not any((directory / name).is_file() for name in tokenizers):
        reason = f"there is no tokenizer in {directory}"
    else:
        try:
            with tempfile.TemporaryDirectory() as scratch:  # for the list of rejected rows
                found = setup.prepare_data(config, pathlib.Path(scratch), rows_per_step)
            return found.streams["train"], "counted in the training data"
        except OSError as error:  # not there, or not to be reached
            reason = str(error)
    return _assumed(config, rows_per_step, None), f"assumed: {reason}"


def _assumed(config: TrainConfig, rows_per_step: int, rows: int | None) -> BatchStream:
    """One batch of equal examples, `config.batch_size` of them or as many as fill `rows`."""
    length = config.data.row_length
    piece = max(min(ASSUMED_PIECE, length // (1 + len(RESPONSES))), 1)
    count = config.batch_size
    if rows is not None:
        count = rows * max(length // (piece * (1 + len(RESPONSES))), 1)
    ids = np.zeros(piece, np.int32)
    examples = [TokenizedExample(ids, (ids,) * len(RESPONSES), index) for index in range(count)]
    return BatchStream(
        examples, batch_size=count, row_length=length, rows_multiple=rows_per_step, shuffle=False
    )


def shape_of(stream: BatchStream, rows_per_step: int) -> BatchShape:
    return BatchShape(
        steps=stream.rows // rows_per_step,
        rows=rows_per_step,
        row_length=stream.row_length,
        capacity=stream.capacity,
        examples=stream.batch_size,
    )


def _counted(plan: Plan) -> Plan:
    """The plan with its bytes."""
    inputs = abstract.step_inputs(plan.config, plan.model, plan.mesh, plan.shape)
    module = abstract.decoder(plan.config, plan.model, plan.attention)
    moments = memory.moments(
        module,
        inputs,
        plan.mesh,
        plan.shape,
        combines_gradients=plan.config.method.combines_gradients,
        fused=plan.device.kind != devices.CPU,
    )
    return dataclasses.replace(plan, moments=moments)


def alternatives(plan: Plan) -> Iterator[tuple[str, Plan]]:
    """Changes that may save memory, as flags or in words, and the plan with each."""
    config, shape, mesh = plan.config, plan.shape, plan.mesh
    replaced = functools.partial(dataclasses.replace, plan)

    def of_config(**changes: Any) -> Plan:
        return _counted(replaced(config=dataclasses.replace(config, **changes)))

    if config.method.needs_reference and config.reference == "resident":
        yield "--config.reference=cached", of_config(reference="cached")
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
        yield f"--config.rows_per_device={half}", _counted(replaced(shape=fewer))
    if shape.steps > 1:
        rows = config.rows_per_device * shape.steps
        at_once = dataclasses.replace(shape, rows=shape.rows * shape.steps, steps=1)
        yield f"--config.rows_per_device={rows}", _counted(replaced(shape=at_once))
    if not plan.rows.startswith("counted") or _longest(plan) <= shape.row_length // 2:
        yield f"--config.data.row_length={shape.row_length // 2}", _counted(_halved_rows(plan))
    if mesh.shape[partition.DATA_AXIS] > 1:
        both = mesh.shape[partition.DATA_AXIS] * mesh.shape[partition.FSDP_AXIS]
        yield (
            f"--config.mesh.data=1 --config.mesh.fsdp={both}",
            _counted(replaced(mesh=_mesh(mesh, data=1, fsdp=both))),
        )
    doubled = _mesh(mesh, fsdp=2 * mesh.shape[partition.FSDP_AXIS])
    wider = dataclasses.replace(shape, rows=2 * shape.rows, steps=-(-shape.steps // 2))
    yield (
        f"{2 * plan.count} devices, the new ones in fsdp",
        _counted(replaced(mesh=doubled, shape=wider, count=2 * plan.count)),
    )


def _longest(plan: Plan) -> int:
    """At most the tokens of one example."""
    capacity = plan.shape.capacity
    return capacity.prompt_block + len(RESPONSES) * capacity.segment_block


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
    lines = [
        f"{plan.model.architecture}, {parameters(plan.model) / 1e9:.3g} billion parameters, on "
        f"{plan.count} x {plan.device.kind} ({mesh}), attention {plan.attention}",
        f"a step: {shape.steps * shape.rows} rows of {shape.row_length} tokens "
        f"({plan.rows}), {plan.config.rows_per_device} on a device at a time, in {shape.steps} "
        f"accumulation step{'s' if shape.steps > 1 else ''}",
        f"GB on each device when most is there ({memory.largest(plan.moments)} pass):",
    ]
    for field in dataclasses.fields(parts):
        if value := getattr(parts, field.name):
            lines.append(f"  {field.name.replace('_', ' '):<16}{value / 1e9:10.3f}")
    lines.append(f"  {'total':<16}{parts.total / 1e9:10.3f} of {size / 1e9:.4g}: {verdict(plan)}")
    if parts.total > (1 - TOLERANCE) * size:
        lines += ["what would save memory, each by itself:", *_advice(plan)]
    return "\n".join([*lines, _flops(plan)])


def parameters(model: DecoderConfig) -> int:
    """Parameters of a decoder."""
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(model)))


def verdict(plan: Plan) -> str:
    """Whether the total fits, given how far the formulas may be off."""
    total, size = plan.parts.total, plan.device.memory
    if total <= (1 - TOLERANCE) * size:
        return "fits"
    if total <= size:
        return f"may fit; this count is good to {TOLERANCE:.0%}"
    return "does not fit"


def _advice(plan: Plan) -> list[str]:
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
    passes = 4 if plan.config.method.needs_reference and plan.config.reference == "resident" else 3
    forward = plan.useful_flops / passes
    line = f"FLOPs of a step: {plan.useful_flops:.3g} useful"
    if plan.config.model.remat == "full":
        line += f", {plan.useful_flops + forward:.3g} with the layers computed twice"
    peak = plan.device.peak_flops(plan.config.model.compute_dtype)
    if peak is None:
        return line
    seconds = plan.useful_flops / (ASSUMED_MFU * plan.count * peak)
    return f"{line}; {seconds:.3g} s if {ASSUMED_MFU:.0%} of the peak were useful (an assumption)"
