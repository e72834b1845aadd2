"""When a new start may go on in a run directory: with the same configuration and inputs.

Both are in files of their own and in every checkpoint; none is trusted alone, and a run whose
files were deleted is known by its checkpoints.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from dignified_jax.data import DIMENSIONS
from dignified_jax.files import atomic
from dignified_jax.files.differences import differences
from dignified_jax.models.checkpoint import params_checkpoint
from dignified_jax.objectives import METHODS
from dignified_jax.training.config import (
    EMBEDDED_TEST,
    PUBLISHED_TESTS,
    ConfigError,
    TrainConfig,
)
from dignified_jax.training.run import checkpoint
from dignified_jax.training.run.directory import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    INPUTS_FILE,
    METRICS_FILE,
    SUMMARY_FILE,
    as_dict,
    checkpoints,
)

# May differ between the first start of a run and its continuation.
_FREE = {
    *("workdir", "checkpoints_to_keep", "checkpoint_every", "eval_every", "compilation_cache"),
    *("distributed", "cluster", "reference_cache", "wandb_project", "model.export_dtype"),
    *("data.cache", "data.cache_gib"),
}
# May differ too, though sums are then taken in another order.
_ROUNDING = {"mesh", "rows_per_device", "reference", "model.remat", "model.attention"}
# Names of what inputs.json has digests of: these are compared.
_DIGESTED = {
    *("model.path", "data.train", "data.test", "data.chat_template", "reward_policies"),
    "steering.vectors",
}


def begun(workdir: pathlib.Path) -> bool:
    """Returns whether a run reached a first step; one that failed earlier left nothing."""
    files = (workdir / CONFIG_FILE).is_file() and (workdir / METRICS_FILE).is_file()
    return files or _checkpointed(workdir)


def _checkpointed(workdir: pathlib.Path) -> bool:
    return params_checkpoint.newest_in(checkpoints(workdir)) is not None


def shared_fields(config: TrainConfig) -> dict[str, Any]:
    """Returns the fields that are the same in all processes of a run, as JSON.

    Files are known by their content: they may lie elsewhere on every host.
    """
    own = _FREE | _DIGESTED
    fields = as_dict(config)
    sections = {name: value for name, value in fields.items() if isinstance(value, dict)}
    inner = {
        name: {key: value for key, value in section.items() if f"{name}.{key}" not in own}
        for name, section in sections.items()
    }
    return {name: value for name, value in {**fields, **inner}.items() if name not in own}


def as_run(config: TrainConfig, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Returns what a checkpoint says of its run."""
    return {"config": as_dict(config), "inputs": dict(inputs)}


def check_config(workdir: pathlib.Path, config: TrainConfig) -> list[str]:
    """Checks that a run begun in the directory has the same configuration.

    Returns:
      A note if it differs in how sums are taken.

    Raises:
      ConfigError: it has another; the message shows the difference.
    """
    if not begun(workdir):
        return []
    records = _records(workdir, "config", CONFIG_FILE)
    if not records and _checkpointed(workdir):
        raise ConfigError(
            f"{workdir} has checkpoints, but neither they nor {CONFIG_FILE} say of which "
            "configuration; choose another --config.workdir, or delete it"
        )
    now = as_dict(config)
    known = bool(_records(workdir, "inputs", INPUTS_FILE))
    free = _FREE | _ROUNDING | (_DIGESTED if known else set())
    rounding: list[str] = []
    for source, before in records.items():
        before = _without_default_test(before, now)
        _refuse(workdir, f"another configuration ({source})", differences(before, now, free))
        rounding = rounding or [
            line
            for name in sorted(_ROUNDING)
            for line in differences(_part(before, name), _part(now, name))
        ]
    if not rounding:
        return []
    return [f"going on, though not bit for bit, as sums round otherwise: {'; '.join(rounding)}"]


def check_method(workdir: pathlib.Path, config: TrainConfig) -> None:
    """Checks that a policy that was mixed in the directory, without a step there, is of the method.

    Its other hyperparameters may be new: a policy is mixed again soon, and its stages know theirs.

    Raises:
      ConfigError: it is of another method, whose results would be overwritten.
    """
    name = (_read(workdir / SUMMARY_FILE) or {}).get("method")
    if name is not None and not begun(workdir):
        was, now = ({"method": {"name": each}} for each in (name, config.method.name))
        _refuse(workdir, f"another configuration ({SUMMARY_FILE})", differences(was, now))


def config_differences(before: Mapping[str, Any], config: TrainConfig) -> list[str]:
    """A line for each field of a configuration, as `as_dict` gave it, that makes another run."""
    now = as_dict(config)
    return differences(_without_default_test(before, now), now, _FREE | _ROUNDING)


def check_inputs(workdir: pathlib.Path, inputs: Mapping[str, str]) -> None:
    """Checks that model, data and tokenizer are those that the run began with, and records them.

    Raises:
      ConfigError: a file behind an unchanged configuration has changed; the message says which.
    """
    if begun(workdir):
        for source, before in _records(workdir, "inputs", INPUTS_FILE).items():
            _refuse(workdir, f"other inputs ({source})", _changed(before, inputs))
    atomic.write_json(workdir / INPUTS_FILE, dict(inputs))


def recorded_input(workdir: pathlib.Path, name: str) -> str | None:
    """Returns what the run that began in the directory has recorded of an input, if it has."""
    if not begun(workdir):
        return None
    records = _records(workdir, "inputs", INPUTS_FILE).values()
    return next((str(found[name]) for found in records if name in found), None)


def check_environment(workdir: pathlib.Path, environment: Mapping[str, str]) -> list[str]:
    """A note if a run goes on elsewhere than it began: its last bits may then differ."""
    file = workdir / ENVIRONMENT_FILE
    before = _read(file) if begun(workdir) else None
    changes = [] if before is None else _changed(before, environment)
    atomic.write_json(file, dict(environment))
    if not changes:
        return []
    return [f"going on elsewhere, so not bit for bit as before: {'; '.join(changes)}"]


def write_config(workdir: pathlib.Path, config: TrainConfig) -> None:
    """Writes config.json."""
    atomic.write_json(workdir / CONFIG_FILE, as_dict(config))


def read_config(file: pathlib.Path) -> dict[str, Any]:
    """Returns a configuration written by `write_config`, of this or an earlier version.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: there is none in the file; names it.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    fields = _read(file)
    if fields is None:
        raise ValueError(f"{file}: expected a configuration as a JSON object; delete the file")
    return _upgraded(fields)


def _upgraded(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns fields of any version in today's form.

    Earlier ones had no `data.dimensions` (there was the default set alone), one source in one
    format, no models with experts, no steering, no slices, and other keys in some methods.
    """
    data, method, model = fields.get("data"), fields.get("method"), fields.get("model")
    if isinstance(fields.get("mesh"), dict):
        fields = {**fields, "mesh": {"slices": 1, **fields["mesh"]}}
    if isinstance(method, dict) and method.get("name") in METHODS:
        fields = {**fields, "method": dict(METHODS[method["name"]].upgraded(method))}
    if isinstance(data, dict):
        former = {"dimensions": list(DIMENSIONS), "groups": [], "weights": [], "dimension": []}
        fields = {**fields, "data": {**former, "format": "rejects", **data}}
    if isinstance(model, dict):
        fields = {**fields, "model": {"router_aux_loss_coef": 0.0, **model}}
        fields = {"steering": {"vectors": None, "add": [], "layers": []}, **fields}
    return fields


def _without_default_test(before: Mapping[str, Any], now: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a run whose version wrote the test rows of a default out, as None does today.

    Digests of the rows tell where they were given and are others.
    """
    data = before.get("data")
    if not isinstance(data, dict) or now["data"]["test"] is not None:
        return before
    usual = (EMBEDDED_TEST, PUBLISHED_TESTS.get(str(data.get("train"))))
    return {**before, "data": {**data, "test": None}} if data.get("test") in usual else before


def _records(workdir: pathlib.Path, key: str, name: str) -> dict[str, dict[str, Any]]:
    """File or checkpoint -> what it says of the run's configuration or inputs, if it does."""
    run = checkpoint.read_run(checkpoints(workdir)) or {}
    found = {name: _read(workdir / name), "its newest checkpoint": run.get(key)}
    return {source: _upgraded(fields) for source, fields in found.items() if fields}


def _read(file: pathlib.Path) -> dict[str, Any] | None:
    """A JSON object; None where there is none or it is damaged."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _part(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The one field, in its section, of a configuration."""
    section, _, field = name.rpartition(".")
    inner = fields.get(section, {}) if section else fields
    chosen = {field: inner[field]} if isinstance(inner, dict) and field in inner else {}
    return {section: chosen} if section else chosen


def _changed(before: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    """The differences in what is known now; records of other versions may have more."""
    return differences({name: before[name] for name in now if name in before}, now)


def _refuse(workdir: pathlib.Path, what: str, changes: list[str]) -> None:
    if changes:
        raise ConfigError(
            f"{workdir} holds a run with {what}; choose another --config.workdir, or delete it:\n  "
            + "\n  ".join(changes)
        )
