"""The runs of a comparison: every method from one base configuration, with every seed.

`base` has the fields of `TrainConfig` without method, workdir, seed and distributed; an entry
has a section `method`, and whatever fields of the base it changes.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping
from typing import Any

import ml_collections

from dignified_jax import typed_config
from dignified_jax.cluster.settings import DistributedConfig, upgraded
from dignified_jax.models.lora import LoraConfig
from dignified_jax.training import config as training_config
from dignified_jax.training.config import ConfigError, DataConfig, TrainConfig
from dignified_jax.typed_config import (
    Path,
    Positive,
    Seed,
    check_bounds,
    help_text,
    sections,
    suggestion,
)

# Of a run alone, or of the comparison, so not of the base.
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
        """The run's name for a person."""
        return f"{self.name} seed {self.config.seed}"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A comparison of methods.

    Attributes:
      workdir: runs in WORKDIR/runs, tables and figures in WORKDIR/report.
      methods: names of the entries that take part, in the order of the tables.
      against: the one that each of the others is compared with, seed by seed.
      seeds: of the runs of each method.
      beta: of the DPO losses and margins by which every policy is scored.
      base: fields that all runs start from.
      entries: name -> method and changes.
      distributed: how the processes of the comparison find each other.
    """

    methods: tuple[str, ...]
    against: str
    base: Mapping[str, Any]
    entries: Mapping[str, Any]
    workdir: Path = "runs/compare"
    seeds: tuple[Seed, ...] = (0, 1, 2)
    beta: Positive = 0.1
    distributed: DistributedConfig = dataclasses.field(default_factory=DistributedConfig)

    def __post_init__(self) -> None:
        check_bounds(self, "")
        for field in ("methods", "seeds"):
            values = getattr(self, field)
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"{field} needs at least one entry, none twice, found {values}")
        if not self.workdir:
            raise ConfigError("workdir must not be empty")
        if self.against not in self.methods:
            near = suggestion(self.against, self.methods)
            raise ConfigError(
                f"against must be one of methods {self.methods}: {self.against!r}{near}", "against"
            )
        unknown = sorted(set(self.methods) - set(self.entries))
        if unknown:
            near = suggestion(unknown[0], self.entries)
            raise ConfigError(
                f"methods must be of {', '.join(self.entries)}, found {unknown[0]!r}{near}",
                "methods",
            )


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
        changes["data"]["test"] = plain["data"]["test"]  # the comparison's, for all runs
        config.entries[name] = ml_collections.ConfigDict(differences(plain, changes))
        config.entries[name].method = ml_collections.ConfigDict(method)
    return config


def parse(config: ml_collections.ConfigDict | Mapping[str, Any]) -> Comparison:
    """Returns a checked comparison; `runs` checks the configuration of each run.

    Raises:
      ConfigError: names the field, what was found and what is allowed.
    """
    fields = upgraded(config if isinstance(config, Mapping) else config.to_dict())
    parts = {name: fields.pop(name, {}) for name in ("base", "entries")}
    for name, section in parts.items():
        if not isinstance(section, Mapping):
            raise ConfigError(f"{name} must be a section of fields, found {section!r}", name)
    _refuse_own("base", parts["base"], _OWN_FIELDS)
    # Text of flags is read here, so that it is told by the name that it was given.
    parts["base"] = typed_config.convert_fields(
        TrainConfig, parts["base"], "base.", skip=_OWN_FIELDS, partial=True
    )
    parts["entries"] = {n: _entry(n, entry) for n, entry in parts["entries"].items()}
    return typed_config.parse(Comparison, fields, "", **parts)


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Returns the fields of a comparison, from which `parse` makes it again."""
    return typed_config.as_dict(comparison)


def field_names() -> list[str]:
    """Returns the dotted name of every field, without those of entries."""
    base = [name for name in training_config.field_names() if name not in _OWN_FIELDS]
    own = sections.field_names(Comparison)
    return [*own, *(f"base.{name}" for name in base)]


def help_sections(values: Mapping[str, Any] | None, width: int) -> list[str]:
    """Returns the help of all fields, a text for every section; see `training.config`."""
    values = values or {}
    own = help_text.page("the comparison", Comparison, values, width, skip=("base", "entries"))
    base = values.get("base", {})
    common = training_config.help_sections(base, width, "base.", skip=_OWN_FIELDS)
    entries = "\n".join(f"  {name}" for name in values.get("entries", {}))
    how = "entries: NAME.method and whatever fields of base an entry changes, such as\n"
    example = "  --config.entries.lagdpo.method.epsilon=0.4"
    return [own[0], f"{how}{example}\n\n{entries}".rstrip(), *own[1:], *common]


def runs(comparison: Comparison) -> tuple[Run, ...]:
    """All runs, seed by seed, so that one cut short has something of every method.

    Raises:
      ConfigError: names the entry and the field, what was found and what is allowed.
    """
    pairs = itertools.product(comparison.seeds, comparison.methods)
    return tuple(_run(comparison, name, seed) for seed, name in pairs)


def scorer_config(comparison: Comparison) -> TrainConfig:
    """The base as the run that scores policies: DPO at `comparison.beta`, with nothing to train.

    Raises:
      ConfigError: as `runs`, or there are no test rows that all runs share.
    """
    changes = {
        "method": {"name": "multi_negative", "beta": comparison.beta},
        "workdir": f"{comparison.workdir}/judge",
        **{"reference": "resident", "reference_cache": None, "reward_policies": ()},
        **{"best_metric": None, "best_mode": None},
    }
    config = _parse("base", typed_config.merge(comparison.base, changes))
    # The test rows stand in for those to train on, and policies come whole.
    rows = config.data.test_source
    if rows is None:
        raise ConfigError(
            "base.data.test is not given: validation rows change with the seed, and a comparison "
            "needs the same test rows for all runs",
            "base.data.test",
        )
    only_test = {"train": rows, "test": rows, "anchors": (), "validation_fraction": 0.0}
    only_test |= {"weights": (), "dimension": _test_dimension(config.data)}
    data = dataclasses.replace(config.data, **only_test)
    return dataclasses.replace(config, data=data, lora=LoraConfig())


def _test_dimension(data: DataConfig) -> tuple[str, ...]:
    """`data.dimension` where the test rows are all the rows that there are."""
    sources = data.test_sources
    found = tuple(data.dimension_of(sources, number) for number in range(len(sources)))
    return () if None in found else found


def _run(comparison: Comparison, name: str, seed: int) -> Run:
    if not re.fullmatch(r"\w[\w+=-]*", name):
        raise ConfigError(
            f"entries: expected a name fit for a directory (letters, digits, _ + = -), "
            f"found {name!r}"
        )
    fields = typed_config.merge(comparison.base, comparison.entries[name])
    fields |= {"workdir": f"{comparison.workdir}/runs/{name}/seed_{seed}", "seed": seed}
    if fields.get("compilation_cache") is None:  # most programs are the same for all
        fields["compilation_cache"] = f"{comparison.workdir}/compilation_cache"
    config = _parse(f"entries.{name} on base", fields)
    if config.data.test is None:  # not those that its own training rows are published with
        test = scorer_config(comparison).data.test
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, test=test))
    return Run(name, config)


def _entry(name: str, entry: Any) -> dict[str, Any]:
    """A checked entry: its fields in their types, and its method as it was given."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("method"), Mapping | str):
        raise ConfigError(
            f"entries.{name} must be a section with a section method, found {entry!r}",
            f"entries.{name}",
        )
    _refuse_own(f"entries.{name}", entry, _OWN_FIELDS[1:])
    changes = {key: value for key, value in entry.items() if key != "method"}
    prefix = f"entries.{name}."
    converted = typed_config.convert_fields(
        TrainConfig, changes, prefix, skip=_OWN_FIELDS, partial=True
    )
    return {
        **converted,
        "method": training_config.convert_method(entry["method"], f"{prefix}method"),
    }


def _parse(what: str, fields: dict[str, Any]) -> TrainConfig:
    try:
        return training_config.parse(fields)
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from error


def _refuse_own(section: str, fields: Mapping[str, Any], own: tuple[str, ...]) -> None:
    for field in own:
        if field in fields:
            key = f"{section}.{field}"
            raise ConfigError(f"{key} has no place there: each run has its own", key)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `after` has that `before` has not, or otherwise; sections stay sections."""
    changes: dict[str, Any] = {}
    for key, value in after.items():
        if isinstance(value, Mapping) and isinstance(before.get(key), Mapping):
            inner = differences(before[key], value)
            if inner:
                changes[key] = inner
        elif key not in before or before[key] != value:
            changes[key] = value
    return changes
