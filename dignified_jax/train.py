r"""Trains a policy: `python -m dignified_jax.train --config=lagdpo`.

Worked example, on the embedded model and data (minutes on 2 CPU cores):

    python -m dignified_jax.train --config=lagdpo --config.workdir=runs/first
    python -m dignified_jax.train --config=lagdpo:qwen3-4b \
        --config.data.train=train.jsonl --config.data.test=test.jsonl

A configuration is one of the package (below), or a file: Python as in configs/lagdpo.py, or YAML
with a method, a preset and any field:

    python -m dignified_jax.train --config=lagdpo --config.seed=1 --print_config > run.yaml
    python -m dignified_jax.train --config=run.yaml

Memory on each device and FLOPs of a step, before anything is allocated or loaded; config.json is
enough, and no such device has to be there:

    python -m dignified_jax.train --config=lagdpo:llama3-8b --plan --plan_devices=8xh200

An error is told in a line; --verbosity=1 shows where it came from. Exit status: 0; 1 where
something is refused or fails; 130 for Ctrl-C and 143 for SIGTERM, after a checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from dignified_jax.console import entry


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the configuration, runs it, and exits with 1 and a message on a known failure."""
    # Imported late, as all below: Ctrl-C is handled by then.
    from dignified_jax.training import command

    return command.execute(_parser(), arguments, _field_names, _help, _run)


def _run(options: argparse.Namespace, overrides: Mapping[str, Any]) -> None:
    from dignified_jax.planning import report
    from dignified_jax.training import command, stages
    from dignified_jax.training import config as training_config
    from dignified_jax.training.run import directory as run_directory
    from dignified_jax.typed_config import ConfigError, yaml_text

    if not options.plan and (options.plan_devices, options.plan_rows) != (None, None):
        raise ConfigError("--plan_devices and --plan_rows have no meaning without --plan")
    given = command.load(options, overrides, "lagdpo", _method_name)
    runs = not options.plan and not options.print_config
    with command.joined(given) if runs else contextlib.nullcontext():
        with command.located(given):
            parsed = training_config.parse(given.values)
        if options.print_config:
            print(yaml_text.dump(run_directory.as_dict(parsed)), end="")
        elif options.plan:
            print(report.report(parsed, options.plan_devices, options.plan_rows))
        else:
            stages.run(parsed)


def _help(options: argparse.Namespace, overrides: Mapping[str, Any]) -> str:
    from dignified_jax.training import command, config_file
    from dignified_jax.training import config as training_config

    values = None
    if options.config is not None:
        values = command.load(options, overrides, "lagdpo", _method_name).values
    sections = training_config.help_sections(values, command.width())
    return command.help_page(__doc__, _parser(), config_file.trainings(), sections)


def _parser() -> argparse.ArgumentParser:
    from dignified_jax.training import command

    parser = command.make_parser("train")
    add = parser.add_argument
    add("--plan", action="store_true", help="print what the run would take, and do not start it")
    add("--plan_devices", metavar="DEVICES", help="such as 8xv5p or h200; default: those here")
    add(
        "--plan_rows",
        type=command.positive,
        metavar="ROWS",
        help="packed rows of a step; default: those of the data",
    )
    return parser


def _method_name(values: Mapping[str, Any]) -> str:
    """The configuration that a YAML file's preset is of."""
    method = values.get("method")
    return method.get("name", "") if isinstance(method, Mapping) else str(method)


def _field_names() -> list[str]:
    from dignified_jax.training import config as training_config

    return training_config.field_names()


if __name__ == "__main__":
    said = "interrupted; the same command goes on from the last checkpoint"
    entry.run(main, said, without_torch=True)
