"""Which runs a comparison consists of: every method from one base configuration, with every seed.

`base` has the fields of `TrainConfig` without method, workdir, seed and distributed; an entry has a
section `method`, and whatever fields of the base it changes.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping
from typing import Any

import ml_collections

from dignified_jax import typed_config
from dignified_jax.models.lora import LoraConfig
from dignified_jax.training import config as training_config
from dignified_jax.training.config import ConfigError, TrainConfig

# Of a run alone, so not of the base. Runs of several processes would need one plan for all.
_OWN_FIELDS = ("method", "workdir", "seed", "distributed")


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run of a comparison.

    Attributes:
      name: of the entry.
      config: whole; its workdir is WORKDIR/runs/NAME/seed_N.
    """

    name: str
    config: TrainConfig

    @property
    def label(self) -> str:
        """For a person."""
        return f"{self.name} seed {self.config.seed}"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A comparison of methods.

    Attributes:
      workdir: runs in WORKDIR/runs, tables and figures in WORKDIR/report.
      methods: names of the entries that take part, in the order of the tables.
      against: the one that each of the others is compared with, seed by seed.
      seeds: of the runs of each method.
      beta: of the DPO losses and margins by which every policy is judged.
      base: fields that all runs start from.
      entries: name -> method and changes.
    """

    workdir: str
    methods: tuple[str, ...]
    against: str
    seeds: tuple[int, ...]
    beta: float
    base: Mapping[str, Any]
    entries: Mapping[str, Any]

    def __post_init__(self) -> None:
        for field in ("methods", "seeds"):
            values = getattr(self, field)
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"{field} needs at least one entry, none twice, found {values}")
        if not self.workdir:
            raise ConfigError("workdir must not be empty")
        if not self.beta > 0:
            raise ConfigError(f"beta must be positive, found {self.beta}")
        if self.against not in self.methods:
            raise ConfigError(f"against must be one of methods {self.methods}: {self.against!r}")
        unknown = sorted(set(self.methods) - set(self.entries))
        if unknown:
            raise ConfigError(f"methods must be of {', '.join(self.entries)}, found {unknown[0]!r}")


def config_dict(
    base: ml_collections.ConfigDict, entries: Mapping[str, ml_collections.ConfigDict]
) -> ml_collections.ConfigDict:
    """The ConfigDict of a comparison, from those of training runs.

    Args:
      base: its method is left out; everything else is common to all runs.
      entries: name -> ConfigDict; of each stay the method and what differs from the base.
    """
    config = ml_collections.ConfigDict()
    config.workdir = "runs/compare"
    config.methods = tuple(entries)
    config.against = next(iter(entries))
    config.seeds = (0, 1, 2)
    config.beta = 0.1
    config.base = ml_collections.ConfigDict(base)
    for field in _OWN_FIELDS:
        del config.base[field]
    plain = config.base.to_dict()
    config.entries = ml_collections.ConfigDict()
    for name, whole in entries.items():
        fields = whole.to_dict()
        method = fields.pop("method")
        changes = {key: fields[key] for key in plain}
        config.entries[name] = ml_collections.ConfigDict(differences(plain, changes))
        config.entries[name].method = ml_collections.ConfigDict(method)
    return config


def parse(config: ml_collections.ConfigDict) -> Comparison:
    """A checked comparison; `runs` checks the configuration of each run.

    Raises:
      ConfigError: names the field, what was found and what is allowed.
    """
    fields = config.to_dict()
    sections = {name: fields.pop(name, None) for name in ("base", "entries")}
    for name, section in sections.items():
        if not isinstance(section, Mapping):
            raise ConfigError(f"{name} must be a section of fields, found {section!r}")
    return typed_config.parse(Comparison, fields, "", **sections)


def runs(comparison: Comparison) -> tuple[Run, ...]:
    """All runs, seed by seed, so that one cut short has something of every method.

    Raises:
      ConfigError: names the entry and the field, what was found and what is allowed.
    """
    _refuse_own("base", comparison.base, _OWN_FIELDS)
    pairs = itertools.product(comparison.seeds, comparison.methods)
    return tuple(_run(comparison, name, seed) for seed, name in pairs)


def scorer_config(comparison: Comparison) -> TrainConfig:
    """The base as the run that scores policies: DPO at `comparison.beta`, with nothing to train.

    Raises:
      ConfigError: as `runs`.
    """
    changes = {
        "method": {"name": "multi_negative", "beta": comparison.beta},
        "workdir": f"{comparison.workdir}/judge",
        **{"reference": "resident", "reference_cache": None, "reward_policies": ()},
        **{"best_metric": None, "best_mode": None},
    }
    config = _parse("base", _merge(comparison.base, changes))
    # The test rows stand in for those to train on, and policies come whole.
    only_test = {"train": config.data.test, "anchors": (), "validation_fraction": 0.0}
    data = dataclasses.replace(config.data, **only_test)
    return dataclasses.replace(config, data=data, lora=LoraConfig())


def _run(comparison: Comparison, name: str, seed: int) -> Run:
    if not re.fullmatch(r"\w[\w+=-]*", name):
        raise ConfigError(
            f"entries: expected a name fit for a directory (letters, digits, _ + = -), "
            f"found {name!r}"
        )
    entry = comparison.entries[name]
    if not isinstance(entry, Mapping) or not isinstance(entry.get("method"), Mapping):
        raise ConfigError(
            f"entries.{name} must be a section with a section method, found {entry!r}"
        )
    _refuse_own(f"entries.{name}", entry, _OWN_FIELDS[1:])
    fields = _merge(comparison.base, entry)
    fields |= {"workdir": f"{comparison.workdir}/runs/{name}/seed_{seed}", "seed": seed}
    if fields.get("compilation_cache") is None:  # most programs are the same for all
        fields["compilation_cache"] = f"{comparison.workdir}/compilation_cache"
    return Run(name, _parse(f"entries.{name} on base", fields))


def _parse(what: str, fields: dict[str, Any]) -> TrainConfig:
    try:
        return training_config.parse(ml_collections.ConfigDict(fields))
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from error


def _refuse_own(section: str, fields: Mapping[str, Any], own: tuple[str, ...]) -> None:
    for field in own:
        if field in fields:
            raise ConfigError(f"{section}.{field} has no place there: each run has its own")


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What `after` has that `before` has not, or otherwise; sections stay sections."""
    changes: dict[str, Any] = {}
    for key, value in after.items():
        if isinstance(value, Mapping) and isinstance(before.get(key), Mapping):
            inner = differences(before[key], value)
            if inner:
                changes[key] = inner
        elif key not in before or before[key] != value:
            changes[key] = value
    return changes
