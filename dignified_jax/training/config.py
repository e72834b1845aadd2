"""Configuration of a training run: frozen dataclasses, parsed strictly from a ConfigDict.

The dataclasses are the one place where fields, types, defaults and their meaning are written.
`config_dict` makes the ConfigDict that the files in ``configs/`` fill in and that command-line
flags override; `parse` turns it back, refusing unknown keys, wrong types and contradictions.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import typing
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

import ml_collections

from dignified_jax import typed_config
from dignified_jax.data.schema import find_dimensions
from dignified_jax.models.lora import LoraConfig
from dignified_jax.objectives import METHODS, Method
from dignified_jax.training.data_config import EMBEDDED_TEST, PUBLISHED_TESTS, DataConfig
from dignified_jax.training.step.optimizer import OptimizerConfig
from dignified_jax.training.step.sharding import MeshConfig
from dignified_jax.typed_config import (
    Bounds,
    ConfigError,
    Count,
    NonNegative,
    Path,
    Seed,
    check_bounds,
    help_text,
    sections,
)

__all__ = [
    "EMBEDDED_TEST",
    "PUBLISHED_TESTS",
    "ClusterConfig",
    "ConfigError",
    "DataConfig",
    "ModelConfig",
    "TrainConfig",
    "config_dict",
    "parse",
]


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The decoder to start from.

    Attributes:
      path: Hugging Face directory, hub id, or "embedded:NAME".
      init: "pretrained" loads the weights; "random" draws new ones for the path's config.json.
      param_dtype: of the parameters that are trained and their update. In bfloat16 an update below
        half a step of the number that it changes is lost.
      compute_dtype: of matrix products; also of the frozen reference's matrices, and of those
        under LoRA.
      remat: what each layer keeps for the backward pass, which computes the rest again; from least
        memory to most: "full" keeps the layer's input, "attention" also what enters the attention,
        "dots" the products with weights instead, "none" recomputes nothing (`models.remat`).
      attention: how the token tree is attended: "auto" chooses by platform; "cudnn" is for NVIDIA
        GPUs with bfloat16, "splash" for TPUs, "blocks" suits CPUs, "segments" and "dense" run
        anywhere (`models.attention`).
      export_dtype: of the exported weights; None keeps the dtype of the files loaded.
      router_aux_loss_coef: weight in the loss of how unevenly the router of a model with experts
        loads them (`experts/balance_loss` in the metrics, which the metric `loss` leaves out).
    """

    path: Path = "embedded:tiny-qwen3"
    init: Literal["pretrained", "random"] = "pretrained"
    param_dtype: Literal["float32", "bfloat16"] = "float32"
    compute_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    remat: Literal["none", "dots", "attention", "full"] = "full"
    attention: Literal["auto", "dense", "segments", "blocks", "cudnn", "splash"] = "auto"
    export_dtype: Literal["float32", "bfloat16"] | None = None
    router_aux_loss_coef: NonNegative = 0.0

    def __post_init__(self) -> None:
        check_bounds(self, "model.")


@dataclasses.dataclass(frozen=True)
class ClusterConfig:
    """How the processes of a distributed run find each other, where no cluster says it.

    Attributes:
      coordinator: HOST:PORT of the first process; None takes JAX_COORDINATOR_ADDRESS or asks the
        cluster.
      processes: how many there are; None takes JAX_NUM_PROCESSES or asks the cluster.
      process: number of this one, from 0; None takes JAX_PROCESS_ID or asks the cluster.
    """

    coordinator: str | None = None
    processes: Count | None = None
    process: Annotated[int, Bounds("[0, 1048576]")] | None = None

    def __post_init__(self) -> None:
        check_bounds(self, "cluster.")
        if self.coordinator is not None and not re.fullmatch(r".+:\d{1,5}", self.coordinator):
            raise ConfigError(
                f"cluster.coordinator must be HOST:PORT, found {self.coordinator!r}",
                "cluster.coordinator",
            )
        if None not in (self.processes, self.process) and self.process >= self.processes:
            raise ConfigError(
                f"cluster.process must be less than cluster.processes ({self.processes}), found "
                f"{self.process}",
                "cluster.process",
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
      distributed: whether this is one of several processes of a run; see `cluster`.
    """

    method: Method
    workdir: Path = "runs/train"
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
    reward_policies: tuple[Path, ...] = ()
    compilation_cache: Path | None = None
    wandb_project: str | None = None
    distributed: bool = False
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    lora: LoraConfig = dataclasses.field(default_factory=LoraConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    cluster: ClusterConfig = dataclasses.field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        check_bounds(self, "")
        for name in ("workdir", "compilation_cache", "reference_cache", "wandb_project"):
            if getattr(self, name) == "":
                raise ConfigError(f"{name} must not be empty", name)
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


def config_dict(method: str) -> ml_collections.ConfigDict:
    """Returns all fields at their defaults, for `method`; optional ones as typed placeholders."""
    config = typed_config.defaults(TrainConfig, skip="method")
    config.method = typed_config.defaults(METHODS[method])
    config.method.name = method
    return config


def field_names(method: str | None = None) -> list[str]:
    """Returns the dotted name of every field, those of a method's section included."""
    names = sections.field_names(TrainConfig)
    if method not in METHODS:
        return names
    return [*names, "method.name", *sections.field_names(METHODS[method], "method.")]


def parse(config: ml_collections.ConfigDict | Mapping[str, Any]) -> TrainConfig:
    """Returns a checked `TrainConfig`.

    Raises:
      ConfigError: names the field, what was found and what is allowed.
    """
    fields = dict(config) if isinstance(config, Mapping) else config.to_dict()
    cls, section = sections.choose(METHODS, fields.pop("method", {}), "method")
    _refuse_renamed(cls, section, "method")
    known = field_names(cls.name)
    method = typed_config.parse(cls, section, "method.", known)
    whole = typed_config.parse(TrainConfig, fields, "", known, method=method)
    dimensions, groups = whole.data.dimensions, whole.data.named_groups
    try:
        method = method.resolved(lambda name: find_dimensions(name, dimensions, groups), dimensions)
        method.check(dimensions)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return dataclasses.replace(whole, method=method)


def _refuse_renamed(cls: type[Method], section: Mapping[str, Any], key: str) -> None:
    """Raises ConfigError for a former name of a field; says today's."""
    for old in section:
        if old in cls.renamed:
            raise ConfigError(f"{key}.{old} is {key}.{cls.renamed[old]} now", f"{key}.{old}")


def convert_method(section: Any, key: str) -> dict[str, Any]:
    """Returns the fields of a method's section in their types; it may lack some.

    Raises:
      ConfigError: as `parse`; `key` is the section's name in messages.
    """
    cls, fields = sections.choose(METHODS, section, key)
    _refuse_renamed(cls, fields, key)
    converted = typed_config.convert_fields(cls, fields, f"{key}.", partial=True)
    return {"name": cls.name, **converted}


def help_sections(
    values: Mapping[str, Any] | None, width: int, prefix: str = "", skip: Collection[str] = ()
) -> list[str]:
    """Returns the help of all fields, a text for every section.

    Args:
      values: a configuration, whose method's fields are described and whose values are told.
      width: columns to fill.
      prefix: of the fields' names.
      skip: fields to leave out; without a method, no method is described.
    """
    values = values or {}
    hints = typing.get_type_hints(TrainConfig)
    parts = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    chosen = values.get("method") or {}
    name = chosen if isinstance(chosen, str) else chosen.get("name")
    page = [("the run", TrainConfig, prefix, values)]
    if name in METHODS:
        inner = {} if isinstance(chosen, str) else chosen
        page.append((f"method {name}", METHODS[name], f"{prefix}method.", inner))
    page += [(n, cls, f"{prefix}{n}.", values.get(n)) for n, cls in parts.items()]
    texts = [
        f"{title}: {help_text.summary(cls)}\n\n"
        f"{help_text.section(cls, start, width, inner, skip=('method', *skip))}"
        for title, cls, start, inner in page
    ]
    if name not in METHODS and "method" not in skip:
        summaries = {key: help_text.summary(cls) for key, cls in METHODS.items()}
        listed = help_text.listing(summaries, width)
        note = "Fields of one are shown with its configuration: --config=lagdpo --help."
        texts.insert(1, f"method: {prefix}method.name is one of\n\n{listed}\n\n  {note}")
    return texts
