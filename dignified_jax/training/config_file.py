"""Configuration files: Python files with `get_config`, YAML files, and those of the package."""

from __future__ import annotations

import ast
import dataclasses
import errno
import importlib.util
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections

from dignified_jax.typed_config import ConfigError, expand_home, merge, suggestion, yaml_text

_PACKAGE = pathlib.Path(__file__).parents[1]
OTHERS = ("compare", "evaluate", "construct")
"""Those of the package's configurations that are not of a training."""
_YAML = (".yaml", ".yml", ".json")


@dataclasses.dataclass(frozen=True)
class Given:
    """A configuration as it was given.

    Attributes:
      values: field -> value, sections as mappings.
      file: where it was read.
      lines: dotted name -> line of that file, where it is YAML.
    """

    values: dict[str, Any]
    file: str
    lines: Mapping[str, int] = dataclasses.field(default_factory=dict)


def directory() -> pathlib.Path:
    """Returns where the configurations of the package are: beside it in a checkout, else in it."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def shipped() -> dict[str, str]:
    """Returns name -> first docstring line of the package's configurations."""
    files = sorted(directory().glob("*.py"))
    trees = {file.stem: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    return {name: (ast.get_docstring(tree) or "").split("\n")[0] for name, tree in trees.items()}


def trainings() -> dict[str, str]:
    """Returns those of `shipped` that `train` takes."""
    return {name: text for name, text in shipped().items() if name not in OTHERS}


def load(text: str, preset_name: Callable[[Mapping[str, Any]], str]) -> Given:
    """Reads the configuration that --config names.

    Args:
      text: NAME of one of the package, or FILE.py, each with :PRESET or without; or FILE.yaml.
      preset_name: of a YAML file's values, the package's configuration that its `preset` is of.

    Raises:
      ConfigError: no such name, or a file that is wrong; names it.
      OSError: the file can't be read.
    """
    file, _, preset = _split(text)
    try:
        file = expand_home(file)
    except ValueError as error:
        raise ConfigError(f"--config: {error}") from error
    if file.endswith(_YAML):
        return _read_yaml(file, preset or None, preset_name)
    if file.endswith(".py"):
        return Given(_run_python(_existing(file), preset or None), file)
    path = directory() / f"{file}.py"
    if not re.fullmatch(r"\w+", file) or not path.is_file():
        known = [path.stem for path in sorted(directory().glob("*.py"))]
        raise ConfigError(
            f"--config={text}: expected a .py or .yaml file, or one of {', '.join(known)}"
            f"{suggestion(file, known)}"
        )
    return Given(_run_python(path, preset or None), file)


def _split(text: str) -> tuple[str, str, str]:
    """(file or name, ":", preset); a file's own name may have a colon."""
    match = re.fullmatch(r"(.+\.(?:py|ya?ml|json))(?:(:)(.*))?", text)
    return (match[1], match[2] or "", match[3] or "") if match else text.partition(":")


def _existing(file: str) -> pathlib.Path:
    path = pathlib.Path(file)
    if not path.is_file():
        error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file)
        if (directory() / path.name).is_file():
            raise FileNotFoundError(f"{error}; the package's own is --config={path.stem}")
        raise error
    return path


def _run_python(path: pathlib.Path, preset: str | None) -> dict[str, Any]:
    """Runs a Python file and returns what its `get_config` gives."""
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config() if preset is None else module.get_config(preset)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:  # one that ends us would look like success
        raise ConfigError(f"{path}: {type(error).__name__}: {_last_line(error)}") from error
    if isinstance(config, ml_collections.ConfigDict):
        return config.to_dict()
    if not isinstance(config, Mapping):
        raise ConfigError(f"{path}: expected a ConfigDict from get_config, found {config!r}")
    return dict(config)


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else "no message"


def _read_yaml(
    file: str, preset: str | None, preset_name: Callable[[Mapping[str, Any]], str]
) -> Given:
    """The values of a YAML file, over those of the preset that it names."""
    values, lines = yaml_text.read(_existing(file))
    written = values.pop("preset", None)
    preset = preset or written
    if isinstance(values.get("method"), str):  # a method at its defaults
        values["method"] = {"name": values["method"]}
    if preset is None:
        return Given(values, file, lines)
    name = preset_name(values)
    path = directory() / f"{name}.py"
    place = f"{file}:{lines['preset']}" if written == preset and "preset" in lines else file
    if not isinstance(preset, str) or not path.is_file():
        raise ConfigError(
            f"{place}: preset {preset!r} needs a method.name of "
            f"{', '.join(trainings())}, "
            f"found {name!r}",
            "preset",
        )
    try:
        base = _run_python(path, preset)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error
    return Given(merge(base, values), file, lines)
