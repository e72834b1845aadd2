r"""Evaluates models: `python -m dignified_jax.evaluate --config=evaluate`.

Worked example, two models of your own and two judges, one of them a model that runs here:

    python -m dignified_jax.evaluate --config=evaluate:models --config.workdir=runs/mine \
        --config.models="('before=path/to/model', 'after=runs/lagdpo')" \
        --config.prompts=prompts.jsonl \
        --config.judging.judges="('openai/gpt-4.1', 'small=local:path/to/judge')"

Responses, judgments, scores and the report are in WORKDIR; the same command goes on where it was
stopped, and asks no judge twice. Several processes (--config.distributed.…) each make a share of
the responses and of a local judge's verdicts. --config.until=generate or judge stops before.
SycophancyEval and XSTest (--config.ood.…) and general benchmarks (--config.utility.…) are stages,
too, where they are given. Keys of endpoints come from the environment (OPENAI_API_KEY and so on).

An error is told in a line; --verbosity=1 shows where it came from. Exit status: 0; 1 where
something is refused or fails; 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dignified_jax.console import entry

if TYPE_CHECKING:
    from dignified_jax.evaluation.config import EvaluationConfig

_NAME = "evaluate"
_TRAIN, _TRAINED = "train:", "trained"
SHORT_STEPS = 6
"""Optimiser steps of a model that is trained for the evaluation alone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluates what is not done, and reports; exits with 1 and a message on a known failure."""
    # Imported late, as all below: Ctrl-C is handled by then.
    from dignified_jax.training import command

    return command.execute(command.make_parser(_NAME), arguments, _field_names, _help, _run)


def _run(options: argparse.Namespace, overrides: Mapping[str, Any]) -> None:
    from dignified_jax import typed_config
    from dignified_jax.cluster import members, team
    from dignified_jax.console import safe_stream
    from dignified_jax.evaluation import chain, config, works
    from dignified_jax.files import mirror
    from dignified_jax.training import command
    from dignified_jax.typed_config import yaml_text

    given = command.load(options, overrides, _NAME)
    with command.located(given):
        parsed = config.parse(given.values)
    if options.print_config:
        print(yaml_text.dump(typed_config.as_dict(parsed)), end="")
        return
    notify = functools.partial(print, file=safe_stream.SafeStream(sys.stdout), flush=True)
    with command.joined(given):
        if not members.is_first():
            works.serve()
            return
        with (
            team.led(),
            mirror.workdir(parsed.workdir, notify, apart=[_TRAINED]) as (workdir, shown),
        ):
            parsed = dataclasses.replace(_with_trained(parsed, shown), workdir=workdir)
            found = chain.run(parsed, shown)
            if found is not None:
                shown(f"\n{_summary(pathlib.Path(workdir))}\n\nreport: {found}")


def _with_trained(config: EvaluationConfig, notify: Callable[[str], None]) -> EvaluationConfig:
    """The configuration with the directories of models that are the runs of configurations."""
    models = []
    for each in config.models:
        name, _, path = each.partition("=")
        if path.startswith(_TRAIN):
            path = _trained(path.removeprefix(_TRAIN), config, notify)
        models.append(f"{name}={path}")
    return dataclasses.replace(config, models=tuple(models))


def _trained(preset: str, config: EvaluationConfig, notify: Callable[[str], None]) -> str:
    """The export of a configuration's own run, or of a short one in the evaluation's directory."""
    from dignified_jax.cluster import members
    from dignified_jax.files import store
    from dignified_jax.training import config as training_config
    from dignified_jax.training import config_file, export, stages
    from dignified_jax.typed_config import ConfigError, merge

    values = config_file.load(preset, lambda _: preset).values
    own = pathlib.Path(training_config.parse(values).workdir) / export.DIRECTORY
    if (own / "config.json").is_file():
        notify(f"{_TRAIN}{preset}: the run in {own.parent}")
        return str(own)
    workdir = store.join(config.workdir, _TRAINED, preset.replace(":", "-"))
    made = store.join(workdir, export.DIRECTORY)
    if not (store.place(made) / "config.json").is_file():
        notify(
            f"{_TRAIN}{preset}: {own.parent} has no finished run (python -m dignified_jax.train "
            f"--config={preset} makes one); training {SHORT_STEPS} steps in {workdir}"
        )
        if members.current() is not None:
            raise ConfigError(
                f"models: {_TRAIN}{preset} has to be trained first, by python -m "
                f"dignified_jax.train --config={preset}: several processes train none here"
            )
        short = {"workdir": workdir, "max_steps": SHORT_STEPS}
        stages.run(training_config.parse(merge(values, short)))
    return made


def _summary(workdir: pathlib.Path) -> str:
    """The scores of the report, as lines."""
    return (workdir / "scores" / "summary.txt").read_text(encoding="utf-8").rstrip()


def _help(options: argparse.Namespace, overrides: Mapping[str, Any]) -> str:
    from dignified_jax.evaluation.config import EvaluationConfig
    from dignified_jax.training import command
    from dignified_jax.typed_config import help_text

    fields = functools.partial(help_text.page, "the evaluation", EvaluationConfig)
    return command.help_of_one(__doc__, _NAME, options, overrides, fields)


def _field_names() -> list[str]:
    from dignified_jax.evaluation.config import EvaluationConfig
    from dignified_jax.typed_config import sections

    return sections.field_names(EvaluationConfig)


if __name__ == "__main__":
    entry.run(main, "interrupted; the same command goes on where it was stopped")
