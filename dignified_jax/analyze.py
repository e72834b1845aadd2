r"""Says why a model behaves as it does: `python -m dignified_jax.analyze`.

Worked example, on the embedded model, whose vectors mean nothing:

    python -m dignified_jax.analyze vectors --model embedded:tiny-qwen3 --workdir runs/vectors \
        --max_new_tokens 16

  vectors     persona vectors of contrast pairs, with their reliability; the Assistant Axis
  steer       responses with a vector added or a projection capped, judged, against its strength
  drift       how far training moved a model's states from its base, along the vectors too
  correlate   correlations between dimensions from an evaluation's scores

In several processes (--coordinator and so on) each makes a share of the responses of vectors and
steer, and of a local judge's verdicts; the first one does the rest.

`python -m dignified_jax.analyze COMMAND --help` has the flags of each. Exit status: 0; 1 where
something is refused or fails; 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import sys
from collections.abc import Callable, Sequence

from dignified_jax.console import entry

_COMMANDS = {
    "vectors": "persona vectors of contrast pairs",
    "steer": "steered responses, judged",
    "drift": "drift of states from a base",
    "correlate": "correlations between dimensions",
}
_SHARED = ("vectors", "steer")
_ALONE = {
    "drift": "it reads each prompt once, in as many passes as there are models",
    "correlate": "it reads scores, and no model",
}
"""Commands that several processes would make no faster, and why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser(arguments).parse_args(arguments)
    # Imported late, as all below: Ctrl-C is handled by then.
    from absl import logging

    from dignified_jax.cluster import members
    from dignified_jax.console.labels import printable_lines
    from dignified_jax.console.safe_stream import SafeStream
    from dignified_jax.files.lock import BusyError

    logging.set_verbosity(logging.ERROR)  # Orbax narrates
    notify = functools.partial(print, file=SafeStream(sys.stdout), flush=True)
    try:
        _run(options, notify)
    except (ValueError, OSError, BusyError) as error:
        text = "; ".join([f"error: {error}", *getattr(error, "__notes__", [])])
        print(printable_lines(text), file=SafeStream(sys.stderr))
        members.leave(1)
        return 1
    return 0


def _run(options: argparse.Namespace, notify: Callable[[str], None]) -> None:
    """Runs the command, in the first process with the others at its side."""
    from dignified_jax.cluster import job, members, team
    from dignified_jax.files import mirror
    from dignified_jax.typed_config import ConfigError

    config = job.of_arguments(options)
    if config.joins and options.command not in _SHARED:
        raise ConfigError(
            f"{options.command} runs in one process: {_ALONE[options.command]}; start it without "
            "--distributed, --coordinator, --processes and --process"
        )
    with job.joined(config):
        if members.is_first():
            with (
                team.led(),
                mirror.workdir(options.workdir, notify) as (options.workdir, shown),
            ):
                options.module.run(options, shown)
            return
        from dignified_jax.evaluation import works

        works.serve()


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the modules of the command that is given are imported."""
    from dignified_jax.cluster import job

    formats = {
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
    parser = argparse.ArgumentParser(
        prog="python -m dignified_jax.analyze", description=__doc__, **formats
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in _COMMANDS.items():
        own = commands.add_parser(name, help=summary, **formats)
        if name in arguments[:1]:
            module = importlib.import_module(f"dignified_jax.analysis.commands.{name}")
            own.description = f"{module.__doc__}\n\n{module.run.__doc__.splitlines()[0]}"
            module.add_arguments(own)
            job.add_arguments(own)
            own.set_defaults(module=module)
    return parser


if __name__ == "__main__":
    entry.run(main, "interrupted; the same command goes on with the responses that are there")
