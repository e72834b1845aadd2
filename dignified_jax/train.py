r"""Trains a policy: `python -m dignified_jax.train --config=configs/lagdpo.py`.

Worked example, on the embedded model and data (minutes on 2 CPU cores):

    python -m dignified_jax.train --config=configs/lagdpo.py --config.workdir=runs/first
    python -m dignified_jax.train --config=configs/lagdpo.py:qwen3-4b \
        --config.data.train=train.jsonl --config.data.test=test.jsonl

Every field of the configuration can be overridden by a flag; see dignified_jax/training/config.py.
An error is told in a line; --verbosity=1 shows where it came from.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import config_flags

# Unknown fields are let through to `training_config.parse`, which says what is known.
_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Configuration file, such as configs/lagdpo.py:tiny.",
    lock_config=False,
    accept_new_attributes=True,
)


def parse_flags(arguments: Sequence[str]) -> list[str]:
    """Parses flags and reads the configuration file; exits with 1 and one line if it cannot."""
    try:
        rest = flags.FLAGS(list(arguments))
        if _CONFIG.value is not None:
            _CONFIG.value.get("method")  # a missing file shows at the first access only
    except SystemExit:
        sys.exit(0)  # absl's --help ends as if it had failed
    except (flags.Error, OSError, AttributeError, KeyError, TypeError) as error:
        # Of the traceback that ml_collections puts into some messages, the last line.
        sys.exit(f"error: {str(error).strip().splitlines()[-1].strip()}")
    return rest


def main(arguments: Sequence[str]) -> None:
    """Parses the configuration, runs it, and exits with 1 and a message on a known failure."""
    if len(arguments) > 1:
        sys.exit(f"error: unexpected arguments: {' '.join(arguments[1:])}")
    if _CONFIG.value is None:
        sys.exit("error: --config is required, such as --config=configs/lagdpo.py; see --help")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # Orbax narrates every file at INFO
    # Imported late: --help and usage errors need neither JAX nor transformers.
    from dignified_jax.training import config as training_config
    from dignified_jax.training import diagnosis, interrupt, recipes, rundir

    if _CONFIG.value.get("distributed") is True:
        import jax

        jax.distributed.initialize()  # before anything touches a device, so before parse
    try:
        recipes.run(training_config.parse(_CONFIG.value))
    except interrupt.Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        sys.exit(interrupted.exit_status)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError, diagnosis.NonFiniteError, rundir.BusyError) as error:
        if logging.get_verbosity() >= logging.DEBUG:
            traceback.print_exc()
        print("\n".join([f"error: {error}", *getattr(error, "__notes__", [])]), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
