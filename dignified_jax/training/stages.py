"""Methods of several stages, each a run of its own under WORKDIR/stages.

Every stage can be killed and goes on like any run; its exported weights are the next one's start.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from dignified_jax.console.waiting import waiting
from dignified_jax.files import store
from dignified_jax.models import hf
from dignified_jax.models.decoder import Params
from dignified_jax.objectives import (
    MultiNegativeDPO,
    MultiStage,
    Objective,
    Stage,
    soup,
    terms,
)
from dignified_jax.training import export, loop
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.inputs import trained_rows
from dignified_jax.training.run import compilation_cache, continuation, devices
from dignified_jax.training.run import directory as run_directory


def run(config: TrainConfig) -> dict[str, Any]:
    """Runs a method of any number of stages.

    Returns:
      The summary of the final policy, compared with the model that everything began with.

    Raises:
      ConfigError: the directory holds another run; before any stage.
      As `devices.find` and `loop.run`.
    """
    devices.find()  # told before anything is read
    method = config.method
    if isinstance(method, MultiStage):
        objective = MultiNegativeDPO(beta=method.beta, **terms.of(method))
        _refuse_other_run(config, loop.assessed(config, objective))
        stages = method.stages(config.data.dimensions)
        _check_rows(config, stages)
        exports = _train(config, stages)
        return _assess(config, objective, exports, method.shares(config.data.dimensions))
    if method.needs_rewards and not config.reward_policies:
        stages = method.stages(config.data.dimensions)
        trained = {stage.name: stage_export(config, stage.name) for stage in stages}
        # A dimension without a stage has no say; the first model gives it rewards of 0.
        paths = tuple(
            trained.get(dimension, config.model.path) for dimension in config.data.dimensions
        )
        last = dataclasses.replace(config, reward_policies=paths)
        _refuse_other_run(config, last)
        _check_rows(config, stages)
        _train(config, stages)
        config = last
    return loop.run(config)


def _refuse_other_run(config: TrainConfig, last: TrainConfig) -> None:
    """Checks what the last part, which uses the directory itself, would find after all stages."""
    if not store.is_url(last.workdir):  # one in a store is copied here by then
        continuation.check_method(run_directory.path(config), config)
        continuation.check_config(run_directory.path(last), last)


def _check_rows(config: TrainConfig, stages: Sequence[Stage]) -> None:
    """Looks for rows of every stage, rather than to find none after others were trained."""
    first = _stage_directory(config, stages[0].name)
    if len(stages) == 1 or (not store.is_url(first) and continuation.begun(pathlib.Path(first))):
        return  # it says so itself; or it was looked before the first step, at the same rows
    trained_rows.check(config, [stage.objective for stage in stages])


def stage_export(config: TrainConfig, name: str) -> str:
    """Returns where a run exports the policy of one of its stages, here or in a store."""
    return store.join(_stage_directory(config, name), export.DIRECTORY)


def _train(config: TrainConfig, stages: Sequence[Stage]) -> list[str]:
    """Trains the stages in order; their exports."""
    exports: list[str] = []
    for stage in stages:
        start = None if stage.start is None else exports[stage.start]
        exports.append(_train_stage(config, stage, start))
    return exports


def _train_stage(config: TrainConfig, stage: Stage, start: str | None) -> str:
    """Trains a stage, from another's export or the run's own model; its export."""
    workdir = _stage_directory(config, stage.name)
    model = dataclasses.replace(
        config.model,
        path=config.model.path if start is None else start,
        # A narrower file would round the policy between stages.
        export_dtype=config.model.param_dtype,
    )
    loop.run(
        dataclasses.replace(
            config,
            method=stage.objective,
            workdir=workdir,
            model=model,
            reference_cache=None,
            reward_policies=(),
            compilation_cache=compilation_cache.directory(config),
        )
    )
    return stage_export(config, stage.name)


def _stage_directory(config: TrainConfig, name: str) -> str:
    return store.join(config.workdir, "stages", name)


def _assess(
    config: TrainConfig, objective: Objective, exports: Sequence[str], shares: Sequence[float]
) -> dict[str, Any]:
    """Tests and exports the weighted mean of policies against the run's own model."""
    mixed = [(path, share) for path, share in zip(exports, shares, strict=True) if share > 0]

    def load(path: str, mesh: Mesh) -> Params:
        with waiting(f"loading {path}", jax.process_index() == 0, share=True) as count:
            return hf.load(hf.resolve(path), config.model.param_dtype, mesh, progress=count)[1]

    def policy(mesh: Mesh) -> Params:
        loaded = [load(path, mesh) for path, _ in mixed]
        return soup.combine(loaded, [share for _, share in mixed]) if len(mixed) > 1 else loaded[0]

    return loop.assess(config, objective, policy)
