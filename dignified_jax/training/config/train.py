"""The configuration of a training run, and what contradicts in it."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Annotated, Literal

from dignified_jax.cluster.settings import DistributedConfig
from dignified_jax.files import store
from dignified_jax.models.lora import LoraConfig
from dignified_jax.objectives import Method
from dignified_jax.training.config.data import DataConfig
from dignified_jax.training.config.model import ModelConfig
from dignified_jax.training.config.steering import SteeringConfig
from dignified_jax.training.step.optimizer import OptimizerConfig
from dignified_jax.training.step.sharding import MeshConfig
from dignified_jax.typed_config import (
    Bounds,
    ConfigError,
    Count,
    Path,
    Place,
    Seed,
    check_bounds,
)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
      workdir: run directory; a finished step in it is resumed from.
      seed: of shuffling, the validation split and random initialisation.
      epochs: passes over the training rows.
      max_steps: stop after this many optimiser steps; None runs all epochs.
      batch_size: examples (prompts) of one optimiser step, over all devices.
      rows_per_device: packed rows that a device computes at a time; a batch that needs more is
        accumulated.
      eval_every: optimiser steps between evaluations on the validation split.
      checkpoint_every: optimiser steps between checkpoints; one is always written at the end.
      checkpoints_to_keep: newest checkpoints that stay.
      best_metric: validation metric, such as "eval/loss" or "eval/rewards/accuracies/A", by which
        one more checkpoint stays, the best; that one is tested and exported at the end. None
        tests and exports the last.
      best_mode: whether the least or the greatest value is the best; None means "min". Only with
        best_metric.
      reference: the frozen reference stays "resident" beside the policy, or its log-probs are
        "cached" in a file before the first step, which leaves its memory free.
      reference_cache: directory of that file, for several runs to share; None means
        WORKDIR/reference. Only with reference "cached".
      reward_policies: directories or hub ids of policies, one DPO-trained on each of
        data.dimensions in their order, for methods that need their rewards (modpo).
      compilation_cache: directory of compiled programs, which a restart reads instead of compiling
        again; None means that of JAX_COMPILATION_CACHE_DIR where it is set, else
        WORKDIR/compilation_cache.
      wandb_project: Weights & Biases project to log to as well; None for none.
    """

    method: Method
    workdir: Place = "runs/train"
    seed: Seed = 0
    epochs: Count = 3
    max_steps: Count | None = None
    batch_size: Annotated[int, Bounds("[1, 1048576]")] = 16
    rows_per_device: Annotated[int, Bounds("[1, 65536]")] = 1
    eval_every: Count = 50
    checkpoint_every: Count = 200
    checkpoints_to_keep: Count = 2
    best_metric: str | None = None
    best_mode: Literal["min", "max"] | None = None
    reference: Literal["resident", "cached"] = "resident"
    reference_cache: Path | None = None
    reward_policies: tuple[Place, ...] = ()
    compilation_cache: Place | None = None
    wandb_project: str | None = None
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    lora: LoraConfig = dataclasses.field(default_factory=LoraConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    steering: SteeringConfig = dataclasses.field(default_factory=SteeringConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    distributed: DistributedConfig = dataclasses.field(default_factory=DistributedConfig)

    def __post_init__(self) -> None:
        check_bounds(self, "")
        for name in ("workdir", "compilation_cache", "reference_cache", "wandb_project"):
            if getattr(self, name) == "":
                raise ConfigError(f"{name} must not be empty", name)
        self._check_workdir()
        if self.wandb_project is not None and not _installed("wandb"):
            raise ConfigError(
                f"wandb_project={self.wandb_project!r} needs the package wandb, which is not "
                "installed; pip install 'dignified_jax[wandb]', or leave wandb_project out"
            )
        if self.data.anchors and self.method.needs_reference:
            raise ConfigError(
                f"data.anchors contradicts method.name={self.method.name!r}: their rows have no "
                "reject to compare with"
            )
        self._check_reference()
        self._check_best_metric()
        if self.model.init == "random" and self.method.needs_reference:
            raise ConfigError(
                f"model.init='random' contradicts method.name={self.method.name!r}, which "
                "compares with a trained reference; train with method 'sft' first"
            )
        if self.model.init == "random" and self.lora.enabled:
            raise ConfigError(
                "model.init='random' contradicts lora.rank: LoRA is of no use without the very "
                "weights it was trained on, and those would not be kept"
            )

    def _check_workdir(self) -> None:
        try:
            if store.is_url(self.workdir):
                store.check(self.workdir)
        except ValueError as error:
            raise ConfigError(f"workdir: {error}", "workdir") from error

    def _check_reference(self) -> None:
        if self.reference == "cached" and not self.method.needs_reference:
            raise ConfigError(
                f"reference='cached' contradicts method.name={self.method.name!r}, which has no "
                "reference"
            )
        if self.reference_cache is not None and self.reference != "cached":
            raise ConfigError("reference_cache contradicts reference='resident'")
        if not self.method.needs_rewards:
            if self.reward_policies:
                raise ConfigError(
                    f"reward_policies contradicts method.name={self.method.name!r}, which has no "
                    "use for them"
                )
            return
        count = len(self.data.dimensions)
        if len(self.reward_policies) not in (0, count):
            raise ConfigError(
                f"reward_policies must be {count} paths, found {self.reward_policies}"
            )
        if self.reference != "cached":
            raise ConfigError(
                f"method.name={self.method.name!r} needs reference='cached', from which rewards "
                "are computed"
            )

    def _check_best_metric(self) -> None:
        if self.best_metric is None:
            if self.best_mode is not None:
                raise ConfigError("best_mode has no meaning without best_metric")
            return
        if not self.data.validation_fraction:
            raise ConfigError("best_metric contradicts data.validation_fraction=0: no validation")
        if self.checkpoint_every % self.eval_every:
            raise ConfigError(
                f"checkpoint_every {self.checkpoint_every} must be a multiple of eval_every "
                f"{self.eval_every} for best_metric: a checkpoint is judged by its evaluation"
            )


def _installed(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    # A mere directory of that name, such as W&B leaves behind, has no origin.
    return spec is not None and spec.origin is not None
