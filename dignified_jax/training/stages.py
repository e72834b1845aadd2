"""Methods of several stages, each a run of its own under WORKDIR/stages.

Every stage can be killed and goes on like any run; its exported weights are the next one's start.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from jax.sharding import Mesh

from dignified_jax.data import DIMENSIONS
from dignified_jax.models import hf
from dignified_jax.objectives import MODPO, Method, MultiNegativeDPO, soup
from dignified_jax.objectives.checks import entries
from dignified_jax.objectives.multi_stage import SACPO, RewardedSoup, single
from dignified_jax.training import export, loop
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.run import compilation_cache
from dignified_jax.training.run import directory as run_directory


def run(config: TrainConfig) -> dict[str, Any]:
    """Runs a method of any number of stages.

    Returns:
      The summary of the final policy, compared with the model that everything began with.

    Raises:
      As `loop.run`.
    """
    method = config.method
    if isinstance(method, SACPO):
        return _sacpo(config, method)
    if isinstance(method, RewardedSoup):
        return _soup(config, method)
    if isinstance(method, MODPO) and not config.reward_policies:
        weights = entries("weights", method.weights, len(DIMENSIONS))
        trained = _single_policies(config, method.beta, weights)
        # A dimension of weight 0 has no say; the first model gives it rewards of 0.
        paths = (str(trained.get(dimension, config.model.path)) for dimension in DIMENSIONS)
        config = dataclasses.replace(config, reward_policies=tuple(paths))
    return loop.run(config)


def single_policy(config: TrainConfig, dimension: str) -> pathlib.Path:
    """Where a run of several stages exports the policy that it trains on one dimension."""
    return _stage_directory(config, dimension) / export.DIRECTORY


def _sacpo(config: TrainConfig, method: SACPO) -> dict[str, Any]:
    exports: list[pathlib.Path] = []
    for number, stage in enumerate(method.stages(DIMENSIONS)):
        start = None if stage.reference is None else exports[stage.reference]
        name = f"{number + 1}_{method.groups[number]}"
        exports.append(_stage(config, name, stage.method, start))
    if method.last_share is None:
        return _assess(config, exports[-1:], (1.0,))
    return _assess(config, exports[-2:], (1.0 - method.last_share, method.last_share))


def _soup(config: TrainConfig, method: RewardedSoup) -> dict[str, Any]:
    coefficients = method.coefficients(len(DIMENSIONS))
    policies = _single_policies(config, method.beta, coefficients)
    return _assess(config, list(policies.values()), tuple(c for c in coefficients if c > 0))


def _single_policies(
    config: TrainConfig, beta: float, weights: Sequence[float]
) -> dict[str, pathlib.Path]:
    """Exports of policies trained on one dimension each, for those of positive weight."""
    return {
        dimension: _stage(config, dimension, single(beta, index, len(DIMENSIONS)))
        for index, dimension in enumerate(DIMENSIONS)
        if weights[index] > 0
    }


def _stage(
    config: TrainConfig, name: str, method: Method, start: pathlib.Path | None = None
) -> pathlib.Path:
    """Trains a stage, from another's export or the run's own model; its export."""
    workdir = _stage_directory(config, name)
    model = dataclasses.replace(
        config.model,
        path=config.model.path if start is None else str(start),
        # A narrower file would round the policy between stages.
        export_dtype=config.model.param_dtype,
    )
    loop.run(
        dataclasses.replace(
            config,
            method=method,
            workdir=str(workdir),
            model=model,
            reference_cache=None,
            reward_policies=(),
            compilation_cache=compilation_cache.directory(config),
        )
    )
    return workdir / export.DIRECTORY


def _stage_directory(config: TrainConfig, name: str) -> pathlib.Path:
    return run_directory.path(config) / "stages" / name


def _assess(
    config: TrainConfig, exports: list[pathlib.Path], coefficients: tuple[float, ...]
) -> dict[str, Any]:
    """Tests and exports the combination of policies against the run's own model."""

    def policy(mesh: Mesh) -> Any:
        loaded = [hf.load(export, config.model.param_dtype, mesh)[1] for export in exports]
        return soup.combine(loaded, coefficients) if len(loaded) > 1 else loaded[0]

    return loop.assess(config, MultiNegativeDPO(beta=config.method.beta), policy)
