"""Everything that stays the same from a run's first step to its last."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import platform
from collections.abc import Callable, Mapping

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import PyTree

from dignified_jax.cluster import members
from dignified_jax.console.waiting import waiting
from dignified_jax.data import BatchStream, PackedBatch
from dignified_jax.embedded import resolve
from dignified_jax.models import hf
from dignified_jax.models.checkpoint import lora_base, params_checkpoint
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.residual import Edits
from dignified_jax.objectives import Objective
from dignified_jax.training.config import ConfigError, TrainConfig
from dignified_jax.training.inputs import data as input_data
from dignified_jax.training.inputs import model as input_model
from dignified_jax.training.inputs import steering as input_steering
from dignified_jax.training.inputs.reference import PerExample, read_or_compute
from dignified_jax.training.inputs.reference import rewards as compute_rewards
from dignified_jax.training.inputs.text_encoder import end_of_turn
from dignified_jax.training.run import continuation
from dignified_jax.training.run.compiled import CompiledFunction
from dignified_jax.training.run.devices import cpu_cores
from dignified_jax.training.step.held_out import metric_names
from dignified_jax.training.step.optimizer import lost_updates, make_optimizer
from dignified_jax.training.step.sharding import make_mesh, put_batch, row_devices
from dignified_jax.training.step.step_inputs import CachedReference, StepInputs
from dignified_jax.training.step.train_step import make_score_step

EVAL_PREFIX = "eval/"
Notify = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class RunContext:
    """Data, model and optimiser of a run.

    Attributes:
      rows_per_step: packed rows of one accumulation step, over all devices.
      data: streams by split.
      model: the policy's module and first parameters, and the resident reference's.
      cached: the reference's log-probs where they are cached.
      rewards: of other policies, for methods that need them.
      edits: of the policy's residual stream in train steps; None for none.
      steps: optimiser steps of the whole run.
      identity: what model, data and tokenizer are, name to fingerprint.
    """

    config: TrainConfig
    workdir: pathlib.Path
    rows_per_step: int
    data: input_data.PreparedData
    model: input_model.PreparedModel
    cached: PerExample | None
    rewards: PerExample | None
    edits: Edits | None
    optimizer: optax.GradientTransformation
    score_step: CompiledFunction
    steps: int
    identity: Mapping[str, str]

    @property
    def objective(self) -> Objective:
        """The method, per step of this run where it is configured in units of a run."""
        return self.config.method.for_steps(self.steps)

    def inputs(self, split: str, step: int) -> tuple[PackedBatch, StepInputs]:
        """Returns a batch on the host, and the inputs of its step on the devices."""
        stream, mesh = self.data.streams[split], self.model.mesh
        replicated = NamedSharding(mesh, PartitionSpec())

        def put(values: PerExample | None) -> jax.Array | None:
            if values is None:
                return None
            batch = values.batch(split, stream, step)
            return jax.make_array_from_process_local_data(replicated, batch)

        host = stream.batch(step)
        batch, num_accumulation_steps = _put(self.model, stream, step, self.rows_per_step, host)
        cached = put(self.cached)
        return host, StepInputs(
            batch=batch,
            num_accumulation_steps=num_accumulation_steps,
            reference=self.model.reference if cached is None else CachedReference(cached),
            rewards=put(self.rewards),
            base=self.model.base,
            edits=self.edits if split == "train" else None,
        )


def prepare(config: TrainConfig, workdir: pathlib.Path, notify: Notify) -> RunContext:
    """Returns the context of a run, data before weights: a bad row should not cost a load."""
    members.agree("a configuration", continuation.shared_fields(config))
    for note in continuation.check_config(workdir, config):
        notify(note)
    members.at("reading rows")
    mesh = make_mesh(config.mesh)
    rows_per_step = config.rows_per_device * row_devices(mesh)
    data = input_data.prepare_data(config, workdir, rows_per_step, notify)
    for note in data.notes:
        notify(note)
    members.agree("inputs", data.identity)
    _check_best_metric(config, data)
    members.at("loading the model")
    show = functools.partial(waiting, visible=jax.process_index() == 0)
    model = input_model.prepare_model(config, mesh, show)
    _check_reward_policies(config, model)
    edits = input_steering.load_edits(config.steering, model.module.config, mesh)
    inputs = {**model.identity, **data.identity}
    recorded = {**inputs, **input_steering.identity(config.steering)}
    members.agree("inputs", recorded)
    members.at("preparing the first step")
    if jax.process_index() == 0:
        continuation.check_inputs(workdir, recorded)
        for note in continuation.check_environment(workdir, environment()):
            notify(note)
        if note := _write_model_files(config, workdir, data, model):
            notify(note)
        continuation.write_config(workdir, config)
    if model.base is not None:
        notify(_lora_note(config, model))
    if warning := lost_updates(config.optimizer, config.model.param_dtype):
        notify(warning)
    score_step = CompiledFunction("the score step", make_score_step(model.module, mesh))
    cached = rewards = None
    if config.reference == "cached":
        score = functools.partial(_score, score_step, notify, model, model.first, rows_per_step)
        directory = pathlib.Path(config.reference_cache or workdir / "reference")
        cached = read_or_compute(directory, data.streams, inputs, score, notify)
    if config.method.needs_rewards:
        rewards = _rewards(config, workdir, data, model, cached, score_step, rows_per_step, notify)
    steps = input_data.total_steps(config, data.streams["train"])
    return RunContext(
        config=config,
        workdir=workdir,
        rows_per_step=rows_per_step,
        data=data,
        model=model,
        cached=cached,
        rewards=rewards,
        edits=edits,
        optimizer=make_optimizer(config.optimizer, steps),
        score_step=score_step,
        steps=steps,
        identity=recorded,
    )


def _write_model_files(
    config: TrainConfig,
    workdir: pathlib.Path,
    data: input_data.PreparedData,
    model: input_model.PreparedModel,
) -> str | None:
    """Writes what checkpoints need beside them into WORKDIR/model; a note on a changed ending."""
    side = workdir / params_checkpoint.MODEL_DIRECTORY
    params_checkpoint.copy_model_files(model.directory, side)
    hf.save_tokenizer(side, data.tokenizer)
    end = end_of_turn(config, data.tokenizer)
    note = hf.add_end_of_turn(side, data.tokenizer, end)
    if model.base is None:
        (side / lora_base.FILE).unlink(missing_ok=True)
        return note
    recorded = None
    if continuation.begun(workdir):
        with contextlib.suppress(params_checkpoint.CheckpointError):  # damaged: written anew
            recorded = lora_base.read(side)
    # A digest takes a while, and the weights were checked. Only their place may be another.
    digest = None if recorded is None else recorded.digest
    if digest is None:
        with waiting("reading the base's files", jax.process_index() == 0, share=True) as count:
            digest = hf.digest(model.directory, count)
    base = lora_base.base_name(config.model.path)
    lora_base.write(side, lora_base.LoraBase(config.lora, base, digest))
    return note


def _lora_note(config: TrainConfig, model: input_model.PreparedModel) -> str:
    trained, frozen = (
        sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (model.params, model.base)
    )
    return (
        f"LoRA: {trained:,} parameters are trained beside {frozen:,} frozen ones (rank "
        f"{config.lora.rank}, scale {config.lora.scale:.4g})"
    )


def _rewards(
    config: TrainConfig,
    workdir: pathlib.Path,
    data: input_data.PreparedData,
    model: input_model.PreparedModel,
    reference: PerExample,
    score_step: CompiledFunction,
    rows_per_step: int,
    notify: Notify,
) -> PerExample:
    """Returns rewards of `config.reward_policies`, which are on the devices one after another."""
    policies = []
    for dimension, path in zip(config.data.dimensions, config.reward_policies, strict=True):
        source, dtype = hf.resolve(resolve(path)), config.model.param_dtype
        with waiting(f"loading {path}", jax.process_index() == 0, share=True) as count:
            module, params = hf.load(source, dtype, model.mesh, progress=count)
        identity = {**data.identity, **input_model.identity(module.config, params, config)}
        score = functools.partial(_score, score_step, notify, model, params, rows_per_step)
        directory = workdir / "rewards" / dimension
        policies.append(read_or_compute(directory, data.streams, identity, score, notify))
    return compute_rewards(policies, reference, config.method.beta)


def _check_reward_policies(config: TrainConfig, model: input_model.PreparedModel) -> None:
    """Before the reference, and one policy after another, are scored."""
    for path in config.reward_policies:
        found = read_config(hf.resolve(resolve(path), weights=False))
        if not found.computes_like(model.module.config):
            raise ConfigError(f"reward_policies: {path} is not of the shape of {model.directory}")


def _score(
    score_step: CompiledFunction,
    notify: Notify,
    model: input_model.PreparedModel,
    params: PyTree,
    rows_per_step: int,
    stream: BatchStream,
    step: int,
) -> jax.Array:
    batch = _put(model, stream, step, rows_per_step, stream.batch(step))
    score_step.compile(notify, params, *batch)
    return score_step(params, *batch)


def _check_best_metric(config: TrainConfig, data: input_data.PreparedData) -> None:
    """Before the first step, rather than at the first evaluation."""
    if config.best_metric is None:
        return
    if "validation" not in data.streams:
        raise ConfigError("best_metric: the validation split is empty; raise validation_fraction")
    method = config.method.for_steps(input_data.total_steps(config, data.streams["train"]))
    names = metric_names(method, data.streams["validation"], config.data.dimensions)
    known = {EVAL_PREFIX + name for name in names}
    if config.best_metric not in known:
        raise ConfigError(
            f"best_metric must be a metric of the validation split, one of "
            f"{', '.join(sorted(known))}; found {config.best_metric!r}"
        )


def environment() -> dict[str, str]:
    """Returns what the last bits of a run depend on beside its inputs."""
    devices = jax.devices()
    return {
        "jax": jax.__version__,
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": str(jax.process_count()),
        "host": platform.machine(),
        "cores": str(cpu_cores()) if devices[0].platform == "cpu" else "any",
    }


def _put(
    model: input_model.PreparedModel,
    stream: BatchStream,
    step: int,
    rows_per_step: int,
    host: PackedBatch,
) -> tuple[PackedBatch, np.int32]:
    """(batch on the devices, its non-empty accumulation steps)."""
    batch = put_batch(host, model.mesh, rows_per_step)
    return batch, input_data.accumulation_steps(stream, step, rows_per_step)
