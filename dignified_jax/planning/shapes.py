"""The train step's arguments as shapes, dtypes and shardings: nothing is allocated or loaded.

What a step costs can be read off these before there is a device to run it on: `memory` adds up
their bytes, and XLA compiles the step from them.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from jax.typing import DTypeLike
from jaxtyping import PyTree

from dignified_jax.data import PackedBatch
from dignified_jax.data.batch import Capacity
from dignified_jax.data.packing import build
from dignified_jax.models import partition
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Decoder, Params, abstract_lora, abstract_params
from dignified_jax.models.residual import Edits
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.inputs import model as input_model
from dignified_jax.training.step import sharding
from dignified_jax.training.step.optimizer import make_optimizer
from dignified_jax.training.step.state import TrainState, init_state, state_shardings
from dignified_jax.training.step.step_inputs import (
    CachedReference,
    LoraBaseReference,
    NoReference,
    Reference,
    ResidentReference,
    StepInputs,
)


@dataclasses.dataclass(frozen=True)
class BatchShape:
    """Static sizes of a step's packed rows.

    Attributes:
      steps: accumulation steps.
      rows: packed rows of one accumulation step, over all devices.
      row_length: tokens of a row.
      capacity: what a row can hold.
      examples: prompts of the batch.
    """

    steps: int
    rows: int
    row_length: int
    capacity: Capacity
    examples: int


def step_arguments(
    config: TrainConfig, model: DecoderConfig, mesh: Mesh | AbstractMesh, shape: BatchShape
) -> tuple[TrainState, StepInputs]:
    """Returns the train step's arguments, `jax.ShapeDtypeStruct`s with shardings.

    They are those that `inputs.model`, `state.init_state` and `sharding.put_batch` would put on
    the devices.
    """
    replicated = NamedSharding(mesh, PartitionSpec())
    params, base = _params(config, model)
    optimizer = make_optimizer(config.optimizer, total_steps=1)  # its state's shape is any run's
    dimensions = shape.capacity.responses - 1
    state = jax.eval_shape(
        lambda tree: init_state(tree, config.method, dimensions, optimizer, _one_device()),
        params,
    )
    per_example = (shape.examples, shape.capacity.responses)
    reference: Reference = NoReference()
    if config.method.needs_reference and config.reference == "cached":
        reference = CachedReference(_struct(per_example, jnp.float32, replicated))
    elif config.method.needs_reference and base is not None:
        reference = LoraBaseReference()
    elif config.method.needs_reference:
        reference = ResidentReference(_frozen(config, params, mesh))
    rewards = None
    if config.method.needs_rewards:
        rewards = _struct((*per_example, dimensions), jnp.float32, replicated)
    return _placed(state, state_shardings(state, optimizer, mesh)), StepInputs(
        batch=_batch(shape, mesh),
        num_accumulation_steps=_struct((), jnp.int32, replicated),
        reference=reference,
        rewards=rewards,
        base=None if base is None else _frozen(config, base, mesh),
        edits=_edits(config, model, replicated),
    )


def _edits(config: TrainConfig, model: DecoderConfig, replicated: NamedSharding) -> Edits | None:
    """Those that `inputs.steering` loads."""
    if config.steering.vectors is None:
        return None
    shape = (model.num_layers, model.hidden_size)
    return Edits(added=_struct(shape, jnp.float32, replicated))


def decoder(config: TrainConfig, model: DecoderConfig, attention: str) -> Decoder:
    """Returns the module that the step runs; `attention` takes the place of "auto"."""
    return Decoder(
        model,
        dtype=jnp.dtype(config.model.compute_dtype),
        remat=config.model.remat,
        lora=config.lora,
        attention=attention if config.model.attention == "auto" else config.model.attention,
    )


def _params(config: TrainConfig, model: DecoderConfig) -> tuple[Params, Params | None]:
    """(what is trained, what is frozen under it), in the parameters' dtype."""
    dtype = jnp.dtype(config.model.param_dtype)

    def of_dtype(tree: Params) -> Params:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), tree)

    whole = of_dtype(abstract_params(model))
    if not config.lora.enabled:
        return whole, None
    return of_dtype(abstract_lora(model, config.lora)), whole


def _frozen(config: TrainConfig, params: Params, mesh: Mesh | AbstractMesh) -> Params:
    """The frozen parameters as `input_model.freeze` makes them, and LoRA's base as it is loaded."""
    frozen = jax.eval_shape(
        lambda tree: input_model.freeze(tree, config.model.compute_dtype), params
    )
    return _placed(frozen, partition.param_shardings(frozen, mesh))


def _batch(shape: BatchShape, mesh: Mesh | AbstractMesh) -> PackedBatch:
    """Grouped as by `sharding.put_batch`."""
    rows = build(
        [],
        [],
        row_length=shape.row_length,
        capacity=shape.capacity,
        rows=shape.rows,
        example_count=shape.examples,
    )

    def place(value: np.ndarray, spec: PartitionSpec) -> jax.ShapeDtypeStruct:
        grouped = () if spec == PartitionSpec() else (shape.steps,)
        return _struct((*grouped, *value.shape), value.dtype, NamedSharding(mesh, spec))

    return jax.tree.map(place, rows, sharding.batch_spec(rows))


def _placed(tree: PyTree, shardings: PyTree) -> PyTree:
    return jax.tree.map(lambda x, where: _struct(x.shape, x.dtype, where), tree, shardings)


def _struct(shape: tuple[int, ...], dtype: DTypeLike, where: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=where)


def _one_device() -> Mesh:
    """`init_state` wants a mesh; of what it makes only the shapes are kept."""
    return sharding.make_mesh(sharding.MeshConfig(), jax.devices()[:1])
