r"""Compares methods: `python -m dignified_jax.compare --config=compare`.

Worked example, two methods with two seeds on the embedded model and data:

    python -m dignified_jax.compare --config=compare --config.workdir=runs/two \
        --config.methods=lagdpo,multi_negative --config.seeds=0,1

Every run is in WORKDIR/runs; the same command goes on where it was stopped, and writes the report
into WORKDIR/report. A YAML file has the fields below; its `preset` is one of configs/compare.py.

An error is told in a line; --verbosity=1 shows where it came from. Exit status: 0; 1 where
something is refused or fails; 130 for Ctrl-C and 143 for SIGTERM, after a checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dignified_jax.console import entry

_NAME = "compare"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is not done, judges it, reports; exits with 1 and a message on a known failure."""
    # Imported late, as all below: Ctrl-C is handled by then.
    from dignified_jax.training import command

    return command.execute(command.make_parser(_NAME), arguments, _field_names, _help, _run)


def _run(options: argparse.Namespace, overrides: Mapping[str, Any]) -> None:
    import jax

    from dignified_jax.comparison import plan, report
    from dignified_jax.comparison import runs as comparison
    from dignified_jax.console import safe_stream
    from dignified_jax.training import command
    from dignified_jax.typed_config import yaml_text

    given = command.load(options, overrides, _NAME)
    with contextlib.nullcontext() if options.print_config else command.joined(given):
        with command.located(given):
            parsed = plan.parse(given.values)
            plan.runs(parsed)
        if options.print_config:
            print(yaml_text.dump(plan.as_dict(parsed)), end="")
            return
        stream = safe_stream.SafeStream(sys.stdout if jax.process_index() == 0 else None)
        notify = functools.partial(print, file=stream, flush=True)
        found, directory = comparison.run(parsed, notify)
        notify(f"\n{report.summary(found)}\n\nreport: {directory}")


def _help(options: argparse.Namespace, overrides: Mapping[str, Any]) -> str:
    from dignified_jax.comparison import plan
    from dignified_jax.training import command

    return command.help_of_one(__doc__, _NAME, options, overrides, plan.help_sections)


def _field_names() -> list[str]:
    from dignified_jax.comparison import plan

    return plan.field_names()


if __name__ == "__main__":
    said = "interrupted; the same command goes on from the last checkpoint"
    entry.run(main, said, without_torch=True)
