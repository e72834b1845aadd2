"""A model with random weights, a batch of packed rows, and the train step over them."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from benchmarks.gpu.sizes import GEOMETRIES, Training
from benchmarks.train_step_examples import make_examples
from benchmarks.train_step_layouts import trees
from dignified_jax.data import DIMENSIONS, PackedBatch
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Decoder
from dignified_jax.models.lora import COLLECTION, LoraConfig
from dignified_jax.objectives import LagDPO
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.inputs import model as input_model
from dignified_jax.training.step import sharding
from dignified_jax.training.step.optimizer import OptimizerConfig, make_optimizer
from dignified_jax.training.step.state import TrainState, init_state
from dignified_jax.training.step.step_inputs import CachedReference, StepInputs
from dignified_jax.training.step.train_step import make_score_step, make_train_step


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a train step needs.

    Attributes:
      model: the geometry.
      batch: its packed rows, on the host.
      mesh: of one device.
      module: the decoder.
      state: at step 0.
      base: what is frozen under LoRA, else None.
      step, score: the train step and the reference's, jitted.
    """

    model: DecoderConfig
    batch: PackedBatch
    mesh: Mesh
    module: Decoder
    state: TrainState
    base: Any
    step: Any
    score: Any
    rows_at_once: int

    def rows(self) -> tuple[Any, jax.Array]:
        """The batch on the device, and its number of accumulation steps."""
        count = -(-len(self.batch.tokens) // self.rows_at_once)
        return sharding.put_batch(self.batch, self.mesh, self.rows_at_once), jnp.int32(count)

    def inputs(self, log_probs: jax.Array) -> StepInputs:
        """Inputs of a step with the reference's log-probs, (example, response)."""
        return StepInputs(*self.rows(), reference=CachedReference(log_probs), base=self.base)

    @property
    def first(self) -> Any:
        """Parameters of the model before training, for `score`."""
        return self.state.params if self.base is None else self.base


def config(training: Training, dtype: str, learning_rate: float = 5e-7) -> TrainConfig:
    """The configuration of a training with cached reference."""
    optimizer = OptimizerConfig(
        learning_rate,
        schedule="constant",
        warmup_fraction=0.0,
        mu_dtype="bfloat16" if training.lora_rank is None else None,
    )
    made = TrainConfig(
        method=LagDPO(),
        reference="cached",
        optimizer=optimizer,
        lora=LoraConfig(training.lora_rank),
        rows_per_device=training.rows_at_once,
    )
    return dataclasses.replace(
        made,
        model=dataclasses.replace(made.model, compute_dtype=dtype),
        data=dataclasses.replace(made.data, row_length=training.row_length),
    )


def make_batch(training: Training) -> PackedBatch:
    """As many examples of four rejects as fill the rows."""
    vocabulary = GEOMETRIES[training.model].vocab_size
    scale = min(1.0, training.row_length / 4096)
    pool = make_examples(64 * training.rows, vocabulary, 0, scale=scale)
    count = 1
    while True:
        batch = trees(pool[: count + 1], row_length=training.row_length)
        if len(batch.tokens) > training.rows:
            rows = -(-training.rows // training.rows_at_once) * training.rows_at_once
            return trees(pool[:count], row_length=training.row_length, rows=rows)
        count += 1


def make(
    training: Training, dtype: str, device: jax.Device, attention: str = "auto", seed: int = 0
) -> Problem:
    """Draws the weights on the device, and makes the batch and the step."""
    configuration = config(training, dtype)
    geometry = GEOMETRIES[training.model]
    mesh = sharding.make_mesh(sharding.MeshConfig(), [device])
    module, base = Decoder(geometry), None
    params = input_model.draw(module, "params", "float32", seed, mesh)
    if training.lora_rank is not None:
        base = input_model.freeze(params, dtype)
        module = module.clone(lora=configuration.lora)
        params = input_model.draw(module, COLLECTION, "float32", seed, mesh)
    module = module.clone(
        dtype=jnp.dtype(dtype), remat=configuration.model.remat, attention=attention
    )
    optimizer = make_optimizer(configuration.optimizer, total_steps=1)
    method = configuration.method
    state = init_state(params, method, len(DIMENSIONS), optimizer, mesh)
    return Problem(
        model=geometry,
        batch=make_batch(training),
        mesh=mesh,
        module=module,
        state=state,
        base=base,
        step=make_train_step(module, method, optimizer, mesh),
        score=make_score_step(module, mesh),
        rows_at_once=training.rows_at_once,
    )


def no_reference(problem: Problem) -> jax.Array:
    """Zeros in place of the reference's log-probs: the step does the same work."""
    return jnp.zeros(problem.batch.response_mask.shape, jnp.float32)


def host(tree: Any) -> list[np.ndarray]:
    """Copies of a tree's leaves."""
    return [np.array(leaf) for leaf in jax.tree.leaves(tree)]
