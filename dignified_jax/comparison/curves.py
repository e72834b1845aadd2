"""The worst dimension's held-out loss while training, from the logs of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dignified_jax.comparison.plan import Run
from dignified_jax.objectives import MultiStage, Terms
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.run import directory as run_directory


def incomparable(config: TrainConfig, beta: float) -> str | None:
    """Why a run's logged losses are not DPO losses against the first model; None if they are."""
    method = config.method
    if isinstance(method, MultiStage):
        return "trained in several stages"
    if not method.needs_reference:
        return "its losses are not of preferences"
    if method.needs_rewards:
        return "its losses have the other dimensions' rewards in them"
    if isinstance(method, Terms) and method.changes_losses:
        return "its losses are length-normalized or smoothed"
    if method.beta != beta:
        return f"its losses are at beta {method.beta:g}"
    return None


def worst_losses(run: Run) -> dict[int, float]:
    """Step -> greatest of the dimensions' losses on the run's validation split."""
    losses = {}
    for record in run_directory.read_metrics(run_directory.path(run.config)):
        values = [value for name, value in record.items() if name.startswith("eval/loss/")]
        if values and all(map(math.isfinite, values)):
            losses[record["step"]] = max(values)
    return losses


def mean_curve(curves: Sequence[dict[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """(steps, means) at the steps that all curves have; of several seeds, both (point,)."""
    steps = sorted(set.intersection(*map(set, curves)))
    return np.array(steps), np.array([np.mean([curve[s] for curve in curves]) for s in steps])
