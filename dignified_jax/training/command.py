"""Common part of the command lines that train: their configuration, help, and how they fail.

Exit status: 0; 1 where something is refused or fails, told in a line; 128 + N where signal N ended
it, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from dignified_jax.cluster import job
from dignified_jax.cluster.settings import DistributedConfig, upgraded, upgraded_lines
from dignified_jax.console.labels import printable_lines
from dignified_jax.console.safe_stream import SafeStream
from dignified_jax.training import config_file
from dignified_jax.training.config_file import Given
from dignified_jax.typed_config import ConfigError, help_text, merge, sections, suggestion
from dignified_jax.typed_config.flag_text import take_overrides


def make_parser(name: str) -> argparse.ArgumentParser:
    """Returns a parser of the flags that `train` and `compare` share."""
    parser = argparse.ArgumentParser(
        prog=f"python -m dignified_jax.{name}",
        usage=argparse.SUPPRESS,
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
        formatter_class=_wide,
    )
    add = parser.add_argument
    add("--help", "-h", action="store_true", help="this page; with --config, of that one's fields")
    add("--config", metavar="CONFIG", help="NAME[:PRESET], FILE.py[:PRESET] or FILE.yaml")
    add("--config.FIELD", metavar="VALUE", help="set one field, such as --config.seed=1")
    add("--print_config", action="store_true", help="print the configuration as YAML, and stop")
    add(
        "--verbosity",
        type=int,
        choices=(-3, -2, -1, 0, 1),
        default=-1,
        help="1 shows where errors come from; default %(default)s",
    )
    return parser


def parse_arguments(
    parser: argparse.ArgumentParser, arguments: Sequence[str], fields: Callable[[], Iterable[str]]
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Returns the command's own options, and the fields that flags set; exits with 1 and one line.

    Args:
      parser: from `make_parser`.
      arguments: without the program's name.
      fields: gives the names of the configuration's fields, to suggest some.
    """
    try:
        overrides, own = take_overrides(arguments)
        options, unknown = parser.parse_known_args(own)
    except (argparse.ArgumentError, ConfigError) as error:
        sys.exit(f"error: {error}")
    if unknown:
        flags = [argument for argument in unknown if argument.startswith("-")]
        if not flags:
            sys.exit(f"error: unexpected arguments: {' '.join(unknown)}")
        flag = flags[0].partition("=")[0]
        actions = [name for action in parser._actions for name in action.option_strings]
        near = suggestion(flag, actions) or suggestion(flag.lstrip("-"), fields())
        near = near.replace("did you mean ", "did you mean --config.") if "--" not in near else near
        sys.exit(f"error: unknown flag {flag}{near or '; see --help'}")
    logging.use_absl_handler()
    logging.set_verbosity(options.verbosity)  # Orbax narrates every file at INFO
    return options, overrides


def execute(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    fields: Callable[[], Iterable[str]],
    page: Callable[[argparse.Namespace, Mapping[str, Any]], str],
    run: Callable[[argparse.Namespace, Mapping[str, Any]], None],
) -> int:
    """Does what a command line asks for; exits with 1 and a message on a known failure.

    Args:
      parser: from `make_parser`.
      arguments: without the program's name; None takes the process's own.
      fields: as for `parse_arguments`.
      page: gives the text of --help, from the options and the fields that flags set.
      run: does the command's work, from the same.

    Returns:
      The exit status 0.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options, overrides = parse_arguments(parser, arguments, fields)
    with exiting():
        if options.help:
            print(page(options, overrides))
        else:
            run(options, overrides)
    return 0


def load(
    options: argparse.Namespace,
    overrides: Mapping[str, Any],
    example: str,
    preset_name: Callable[[Mapping[str, Any]], str] | None = None,
) -> Given:
    """Returns the configuration that --config names, with the fields that flags set.

    Args:
      options, overrides: from `parse_arguments`.
      example: a name of a configuration, for a message.
      preset_name: as for `config_file.load`; None where `example` is the command's only one.

    Raises:
      ConfigError, OSError: as `config_file.load`; or there is no --config.
    """
    if options.config is None:
        raise ConfigError(f"--config is required, such as --config={example}; see --help")
    given = config_file.load(options.config, preset_name or (lambda values: example))
    overrides = upgraded(overrides)
    # A field that a flag sets too is not wrong in the file.
    lines = upgraded_lines(given.lines)
    lines = {key: line for key, line in lines.items() if not _has(overrides, key)}
    return Given(merge(upgraded(given.values), overrides), given.file, lines)


@contextlib.contextmanager
def located(given: Given) -> Iterator[None]:
    """Adds file and line to an error of a field that a YAML file sets."""
    try:
        yield
    except ConfigError as error:
        if error.key not in given.lines:
            raise
        place = f"{given.file}:{given.lines[error.key]}"
        raise ConfigError(f"{place}: {error}", error.key) from error


@contextlib.contextmanager
def joined(given: Given) -> Iterator[None]:
    """Joins the other processes where `distributed` says that there are some, and watches them.

    It has to come before anything touches a device, so before the configuration is parsed.

    Raises:
      ConfigError: `distributed` is wrong, the others are not found, or this process has other
        versions than the first one.
    """
    with located(given):
        found = given.values.get("distributed", {})
        config = sections.parse(DistributedConfig, found, "distributed.")
    if not config.joins:
        yield
        return
    # Imported late: --help and wrong flags need no JAX.
    from dignified_jax.training.run.interrupt import Interrupted

    with job.joined(config, Interrupted):
        yield


def help_page(
    description: str,
    parser: argparse.ArgumentParser,
    configurations: Mapping[str, str],
    fields: Iterable[str],
) -> str:
    """Returns the text of --help: what the command does, its flags, configurations and fields."""
    listed = help_text.listing(configurations, width())
    parts = [description.strip(), parser.format_help().strip(), f"configurations:\n{listed}"]
    return "\n\n".join([*parts, *fields])


def help_of_one(
    description: str,
    name: str,
    options: argparse.Namespace,
    overrides: Mapping[str, Any],
    sections: Callable[[Mapping[str, Any] | None, int], Iterable[str]],
) -> str:
    """Returns the text of --help of a command that has a single configuration.

    Args:
      description: what the command does.
      name: of the command, and of its configuration.
      options, overrides: from `parse_arguments`.
      sections: takes (values of the configuration if one is given, columns); its fields.
    """
    values = None if options.config is None else load(options, overrides, name).values
    configurations = {name: config_file.shipped()[name]}
    fields = sections(values, width())
    return help_page(description, make_parser(name), configurations, fields)


def positive(text: str) -> int:
    """Reads a whole number of at least 1, as argparse has its types."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive integer")
    return number


def width() -> int:
    """Returns the columns of the terminal, within what reads well."""
    return max(60, min(shutil.get_terminal_size().columns, 100))


@contextlib.contextmanager
def exiting() -> Iterator[None]:
    """Turns known failures of a run into a message and an exit status."""
    try:
        yield
    except Exception as error:
        # Imported late: --help and wrong flags need no transformers.
        from dignified_jax.cluster import members
        from dignified_jax.training import diagnosis
        from dignified_jax.training.run import directory as run_directory
        from dignified_jax.training.run import interrupt

        if isinstance(error, interrupt.Interrupted):
            print(error, file=SafeStream(sys.stderr))
            sys.exit(error.exit_status)
        known = (ValueError, OSError, diagnosis.NonFiniteError, run_directory.BusyError)
        if not isinstance(error, known):
            raise
        if logging.get_verbosity() >= logging.DEBUG:
            traceback.print_exc()
        notes = getattr(error, "__notes__", [])
        separator = "\n" if "\n" in str(error) else "; "
        text = separator.join([f"error: {error}", *notes])
        # It may show what a stranger's file holds.
        print(printable_lines(text), file=SafeStream(sys.stderr))
        members.leave(1)
        sys.exit(1)


def _has(values: Mapping[str, Any], key: str) -> bool:
    for name in key.split("."):
        if not isinstance(values, Mapping) or name not in values:
            return False
        values = values[name]
    return True


def _wide(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=26, width=width())
