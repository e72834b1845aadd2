"""What the command lines that train have in common: their configuration file, and how they fail."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections
from absl import flags, logging


def parse_flags(holder: flags.FlagHolder[Any], arguments: Sequence[str]) -> list[str]:
    """Parses flags and reads the configuration file; exits with 1 and one line if it cannot."""
    try:
        rest = flags.FLAGS(list(arguments))
        if holder.value is not None:
            holder.value.get("workdir")  # a missing file shows at the first access only
    except SystemExit:
        sys.exit(0)  # absl's --help ends as if it had failed
    except (flags.Error, OSError, AttributeError, KeyError, TypeError) as error:
        # Of the traceback that ml_collections puts into some messages, the last line.
        sys.exit(f"error: {str(error).strip().splitlines()[-1].strip()}")
    return rest


def configuration(
    holder: flags.FlagHolder[Any], arguments: Sequence[str], example: str
) -> ml_collections.ConfigDict:
    """The configuration that was given; exits with 1 and one line without one."""
    if len(arguments) > 1:
        sys.exit(f"error: unexpected arguments: {' '.join(arguments[1:])}")
    if holder.value is None:
        sys.exit(f"error: --config is required, such as --config={example}; see --help")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # Orbax narrates every file at INFO
    return holder.value


@contextlib.contextmanager
def exiting() -> Iterator[None]:
    """Turns known failures of a run into a message and an exit status."""
    # Imported late: --help and usage errors need neither JAX nor transformers.
    from dignified_jax.training import diagnosis
    from dignified_jax.training.run import directory as run_directory
    from dignified_jax.training.run import interrupt

    try:
        yield
    except interrupt.Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        sys.exit(interrupted.exit_status)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError, diagnosis.NonFiniteError, run_directory.BusyError) as error:
        if logging.get_verbosity() >= logging.DEBUG:
            traceback.print_exc()
        print("\n".join([f"error: {error}", *getattr(error, "__notes__", [])]), file=sys.stderr)
        sys.exit(1)
