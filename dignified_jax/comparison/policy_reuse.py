"""Policies that two methods of a comparison would train alike are trained once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from dignified_jax.comparison.plan import Run
from dignified_jax.objectives import MODPO
from dignified_jax.objectives.multi_stage import RewardedSoup
from dignified_jax.training import stages
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.run import directory as run_directory

# Fields that say nothing about how a policy of one dimension is trained. The reference's log-probs
# are the same whether they are cached or not.
_FREE = ("method", "workdir", "reference", "reference_cache", "reward_policies")


def share_policies(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Returns the runs, MODPO with the single-dimension policies of an earlier soup of its kind.

    A soup is of its kind if it is of all dimensions and has its beta, seed and fields of training.
    A MODPO run without one before it, or with policies of its own, stays as it is.
    """
    soups: dict[str, Run] = {}
    shared = []
    for run in runs:
        method, dimensions = run.config.method, run.config.data.dimensions
        if isinstance(method, RewardedSoup) and min(method.coefficients(len(dimensions))) > 0:
            soups[_training(run.config)] = run
        elif isinstance(method, MODPO) and not run.config.reward_policies:
            soup = soups.get(_training(run.config))
            run = run if soup is None else _with_policies_of(run, soup)
        shared.append(run)
    return tuple(shared)


def _with_policies_of(run: Run, soup: Run) -> Run:
    dimensions = run.config.data.dimensions
    paths = (str(stages.single_policy(soup.config, dimension)) for dimension in dimensions)
    config = dataclasses.replace(run.config, reward_policies=tuple(paths))
    return dataclasses.replace(run, config=config)


def _training(config: TrainConfig) -> str:
    """Equal for runs that would train the same single-dimension policies."""
    fields = {k: v for k, v in run_directory.as_dict(config).items() if k not in _FREE}
    return json.dumps([config.method.beta, fields], sort_keys=True)
