r"""Builds preference rows: `python -m dignified_jax.construct --config=construct`.

Worked example, rows by two models, verified by a small one, out of rows of your own:

    python -m dignified_jax.construct --config=construct --config.workdir=runs/rows \
        --config.providers="('openai/gpt-5.1', 'openai-api/LOCAL/name')" \
        --config.verifier.model=openai/gpt-4.1-nano --config.rows=200 \
        --config.anchors="('A=rows.jsonl', 'T=truthfulqa:TruthfulQA.csv', 'E=rows.jsonl', \
        'C=rows.jsonl')"

Rows (JSON lines and Parquet), rows that were set aside, a report and the logs of all calls are in
WORKDIR; the same command goes on where it was stopped, and pays for no call twice. More
--config.rows go on after those that are there. --config.until=audit audits a sample of the rows.
Keys of endpoints come from the environment (OPENAI_API_KEY and so on).

An error is told in a line; --verbosity=1 shows where it came from. Exit status: 0; 1 where
something is refused or fails, or calls have failed; 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dignified_jax.console import entry

_NAME = "construct"


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes what is not there yet; exits with 1 and a message on a known failure."""
    # Imported late, as all below: Ctrl-C is handled by then.
    from dignified_jax.training import command

    return command.execute(command.make_parser(_NAME), arguments, _field_names, _help, _run)


def _run(options: argparse.Namespace, overrides: Mapping[str, Any]) -> None:
    from dignified_jax import typed_config
    from dignified_jax.console import safe_stream
    from dignified_jax.construction import config, pipeline
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
    with mirror.workdir(parsed.workdir, notify) as (workdir, shown):
        found = pipeline.run(dataclasses.replace(parsed, workdir=workdir), shown)
        shown(f"{parsed.until}: {found}")


def _help(options: argparse.Namespace, overrides: Mapping[str, Any]) -> str:
    from dignified_jax.construction.config import ConstructionConfig
    from dignified_jax.training import command
    from dignified_jax.typed_config import help_text

    fields = functools.partial(help_text.page, "the construction", ConstructionConfig)
    return command.help_of_one(__doc__, _NAME, options, overrides, fields)


def _field_names() -> list[str]:
    from dignified_jax.construction.config import ConstructionConfig
    from dignified_jax.typed_config import sections

    return sections.field_names(ConstructionConfig)


if __name__ == "__main__":
    entry.run(main, "interrupted; the same command goes on where it was stopped")
