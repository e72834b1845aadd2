"""Policies that two methods of a comparison would train alike are trained once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from dignified_jax.comparison.plan import Run
from dignified_jax.objectives import Stage
from dignified_jax.training import stages
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.run import directory as run_directory

# Fields that say nothing about how a stage is trained. The log-probs of the reference are the same
# whether they are cached or not.
_FREE = ("method", "workdir", "reference", "reference_cache", "reward_policies")


def share_policies(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Returns the runs, those that need rewards with the policies of earlier runs' stages.

    A policy is taken over from a stage that began with the first model and has the same name,
    objective, seed and fields of training. A run of which any stage is not found before it, or
    with policies of its own, stays as it is.
    """
    trained: dict[str, str] = {}
    shared = []
    for run in runs:
        needed = {_training(run.config, stage): stage for stage in _stages(run.config)}
        lends = not run.config.method.needs_rewards
        if not lends and not run.config.reward_policies and trained.keys() >= needed.keys():
            run = _with_policies(run, {key: trained[key] for key in needed})
        elif lends:
            for key, stage in needed.items():
                if stage.start is None:
                    trained[key] = stages.stage_export(run.config, stage.name)
        shared.append(run)
    return tuple(shared)


def _with_policies(run: Run, trained: dict[str, str]) -> Run:
    """A dimension without a stage has no say: the first model stands in for its policy."""
    config = run.config
    names = [stage.name for stage in _stages(config)]
    paths = dict(zip(names, trained.values(), strict=True))
    policies = tuple(
        paths.get(dimension, config.model.path) for dimension in config.data.dimensions
    )
    return dataclasses.replace(run, config=dataclasses.replace(config, reward_policies=policies))


def _stages(config: TrainConfig) -> tuple[Stage, ...]:
    return config.method.stages(config.data.dimensions)


def _training(config: TrainConfig, stage: Stage) -> str:
    """Equal for stages that would train the same policy."""
    fields = {k: v for k, v in run_directory.as_dict(config).items() if k not in _FREE}
    objective = run_directory.as_dict(
        dataclasses.replace(config, method=stage.objective, reward_policies=())
    )
    return json.dumps([stage.name, objective["method"], fields], sort_keys=True)
