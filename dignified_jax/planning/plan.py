"""A run's memory on each device and its FLOPs, before anything is allocated or loaded.

`make` needs the model's config.json; of the data, only how many rows a step has.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile

import jax
import numpy as np
from jax.sharding import AbstractMesh

from dignified_jax.data import BatchStream, TokenizedExample
from dignified_jax.data.schema import response_names
from dignified_jax.embedded import resolve
from dignified_jax.models import hf
from dignified_jax.models.attention.cudnn import cudnn_takes
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import abstract_params
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.lora import check_targets
from dignified_jax.objectives import Method, MultiStage, Objective
from dignified_jax.planning import memory, shapes
from dignified_jax.planning.shapes import BatchShape
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.inputs import data as input_data
from dignified_jax.training.run import devices
from dignified_jax.training.run.devices import Device
from dignified_jax.training.step import flops, gradients
from dignified_jax.training.step.sharding import mesh_sizes, row_devices

# Tokens of a prompt, and of each of its responses, where there is no data to count.
ASSUMED_PIECE = 256


@dataclasses.dataclass(frozen=True)
class Plan:
    """Memory and FLOPs of a run.

    Attributes:
      config: of the run, or of its first stage.
      model: the decoder's geometry.
      device, count: the devices' kind and number.
      mesh: their arrangement.
      rows: where the packed rows come from, for a person.
      shape: of a step's rows.
      useful_flops: of a step, over all devices; see `flops.useful_flops`.
      forward_flops: of the policy's forward pass, part of these.
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
    forward_flops: float
    moments: dict[str, memory.Parts]

    @property
    def parts(self) -> memory.Parts:
        """At the moment at which most is there."""
        return self.moments[memory.largest(self.moments)]

    @property
    def attention(self) -> str:
        """The computation that "auto" stands for on these devices.

        Where layers with a sliding window are computed in another way, that one: it takes more.
        """
        chosen, best = self.config.model.attention, self.device.attention
        if chosen != "auto":
            return chosen
        takes = cudnn_takes(self.config.model.compute_dtype, self.model.head_dim)
        if (best == "cudnn" and not takes) or (best == "splash" and self.model.sliding_window):
            return "segments"
        return best


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
    check_targets(config.lora, model)
    config = dataclasses.replace(config, method=_first_stage(config.method, config.data.dimensions))
    sizes = mesh_sizes(config.mesh, count)
    mesh = AbstractMesh(tuple(sizes.values()), tuple(sizes))
    stream, where = _stream(config, directory, config.rows_per_device * row_devices(mesh), rows)
    resident = config.method.needs_reference and config.reference == "resident"
    needed = []
    for step in range(stream.steps_per_epoch):
        batch = stream.batch(step)
        useful = flops.useful_flops(model, batch, resident, config.lora, config.method)
        needed.append((useful, flops.forward_flops(model, batch, config.lora)))
    useful, forward = np.mean(needed, axis=0).tolist()
    plan = Plan(
        config=config,
        model=model,
        device=device,
        count=count,
        mesh=mesh,
        rows=where,
        shape=shape_of(stream, config.rows_per_device * row_devices(mesh)),
        useful_flops=useful,
        forward_flops=forward,
        moments={},
    )
    return counted(plan)


def _first_stage(method: Method, dimensions: tuple[str, ...]) -> Objective:
    """The objective of the first training of a method of several; the others are of its size."""
    return method.stages(dimensions)[0].objective if isinstance(method, MultiStage) else method


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
                found = input_data.prepare_data(config, pathlib.Path(scratch), rows_per_step)
            return found.streams["train"], "counted in the training data"
        except OSError as error:  # not there, or not to be reached
            reason = str(error)
    return _assumed(config, rows_per_step, None), f"assumed: {reason}"


def _assumed(config: TrainConfig, rows_per_step: int, rows: int | None) -> BatchStream:
    """One batch of equal examples, `config.batch_size` of them or as many as fill `rows`."""
    length = config.data.row_length
    responses = len(response_names(config.data.dimensions))
    piece = max(min(ASSUMED_PIECE, length // (1 + responses)), 1)
    count = config.batch_size
    if rows is not None:
        count = rows * max(length // (piece * (1 + responses)), 1)
    ids = np.zeros(piece, np.int32)
    examples = [TokenizedExample(ids, (ids,) * responses, index) for index in range(count)]
    return BatchStream(
        examples, batch_size=count, row_length=length, rows_multiple=rows_per_step, shuffle=False
    )


def shape_of(stream: BatchStream, rows_per_step: int) -> BatchShape:
    """Returns the shape of a stream's batches, computed `rows_per_step` rows at a time."""
    return BatchShape(
        steps=stream.rows // rows_per_step,
        rows=rows_per_step,
        row_length=stream.row_length,
        capacity=stream.capacity,
        examples=stream.batch_size,
    )


def counted(plan: Plan) -> Plan:
    """The plan with its bytes."""
    state, inputs = shapes.step_arguments(plan.config, plan.model, plan.mesh, plan.shape)
    module = shapes.decoder(plan.config, plan.model, plan.attention)
    moments = memory.moments(
        module,
        state,
        inputs,
        plan.mesh,
        plan.shape,
        trees=gradients.tree_count(
            plan.config.method,
            plan.shape.capacity.responses - 1,
            plan.config.model.router_aux_loss_coef,
        ),
        fused=plan.device.kind != devices.CPU,
        inlined=plan.device.kind.startswith("TPU"),
    )
    return dataclasses.replace(plan, moments=moments)


def parameters(model: DecoderConfig) -> int:
    """Parameters of a decoder."""
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(model)))
