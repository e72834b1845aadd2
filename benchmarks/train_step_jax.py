"""The timed side of this package: the train step of training on a layout of rows."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.train_step_layouts import used_rows
from benchmarks.train_step_worker import (
    BETA,
    CLIP_NORM,
    LEARNING_RATE,
    READY,
    Job,
    Timings,
    peak_resident_bytes,
)
from dignified_jax.data import DIMENSIONS
from dignified_jax.models import hf
from dignified_jax.models.lora import COLLECTION, LoraConfig
from dignified_jax.objectives import LagDPO
from dignified_jax.training.inputs import model as input_model
from dignified_jax.training.step import sharding
from dignified_jax.training.step.optimizer import OptimizerConfig, make_optimizer
from dignified_jax.training.step.state import TrainState, init_state
from dignified_jax.training.step.step_inputs import CachedReference, StepInputs
from dignified_jax.training.step.train_step import make_score_step, make_train_step


def serve(connection: Connection, job: Job) -> None:
    """See `Job.serve`. Between two requests only the compiled programs are kept."""
    runner = Runner(job)
    warmup = job.warmup
    connection.send(READY)
    while (steps := connection.recv()) is not None:
        connection.send(runner.measure(steps, warmup))
        warmup = 0


class Runner:
    """Lag-DPO with AdamW on one device; programs compiled, nothing run."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._mesh = sharding.make_mesh(sharding.MeshConfig(), jax.devices()[:1])
        self._method = LagDPO(beta=BETA)
        config = OptimizerConfig(
            LEARNING_RATE, schedule="constant", warmup_fraction=0.0, clip_norm=CLIP_NORM
        )
        self._optimizer = make_optimizer(config, total_steps=1)
        model, state, base = self._start()
        batch = self._batch()
        cached = jnp.zeros(batch[0].response_mask.shape, jnp.float32)
        step = make_train_step(model, self._method, self._optimizer, self._mesh)
        self._step = step.lower(state, self._inputs(cached, base)).compile()
        score = make_score_step(model, self._mesh)
        self._score = score.lower(_reference(state, base), *batch).compile()

    def measure(self, steps: int, warmup: int) -> Timings:
        """Times `steps` steps from the checkpoint's weights, after `warmup` of them."""
        _, state, base = self._start()
        passes, seconds = [], []
        for _ in range(warmup + steps):
            began = time.perf_counter()
            log_probs = jax.block_until_ready(self._score(_reference(state, base), *self._batch()))
            passes.append(time.perf_counter() - began)
        for _ in range(warmup + steps):
            began = time.perf_counter()
            stepped = self._step(state, self._inputs(log_probs, base))
            state, report = jax.block_until_ready(stepped)
            seconds.append(time.perf_counter() - began)
        if not report["finite"]:
            raise FloatingPointError("train step: loss or gradient is not finite")
        device = jax.devices()[0]
        peak = device.memory_stats()["peak_bytes_in_use"] if self._job.gpu else None
        mask = np.array([[ids is not None for ids in e.responses] for e in self._job.examples])
        return Timings(
            step=seconds[warmup:],
            reference=passes[warmup:],
            peak_bytes=peak or peak_resident_bytes(),
            device=device.device_kind if self._job.gpu else None,
            log_probs=np.asarray(log_probs)[mask],
        )

    def _start(self) -> tuple[Any, TrainState, Any]:
        """The decoder, the state at step 0, and what is frozen under LoRA, else None."""
        job, mesh, base = self._job, self._mesh, None
        dtype = "bfloat16" if job.gpu else "float32"
        if job.lora_rank is None:
            model, params = hf.load(job.checkpoint, "float32", mesh)
        else:
            model, base = hf.load(job.checkpoint, "float32", mesh, matrix_dtype=dtype)
            model = model.clone(lora=LoraConfig(job.lora_rank))
            params = input_model.draw(model, COLLECTION, "float32", 0, mesh)
        model = model.clone(dtype=jnp.dtype(dtype), remat="full" if job.remat else "none")
        state = init_state(params, self._method, len(DIMENSIONS), self._optimizer, mesh)
        return model, state, base

    def _inputs(self, log_probs: jax.Array, base: Any) -> StepInputs:
        """Inputs of a step whose reference was scored before."""
        return StepInputs(*self._batch(), reference=CachedReference(log_probs), base=base)

    def _batch(self) -> tuple[Any, jax.Array]:
        """The batch on the device, and its number of accumulation steps."""
        batch = self._job.build(self._job.examples)
        rows = self._job.rows_per_step or len(batch.tokens)
        used = -(-used_rows(batch) // rows)
        return sharding.put_batch(batch, self._mesh, rows), jnp.int32(used)


def _reference(state: TrainState, base: Any) -> Any:
    """The policy at step 0 is the reference: its pass costs the same without a second copy."""
    return state.params if base is None else base
