r"""Trains a policy: `python -m dignified_jax.train --config=configs/lagdpo.py`.

Worked example, on the embedded model and data (minutes on 2 CPU cores):

    python -m dignified_jax.train --config=configs/lagdpo.py --config.workdir=runs/first
    python -m dignified_jax.train --config=configs/lagdpo.py:qwen3-4b \
        --config.data.train=train.jsonl --config.data.test=test.jsonl

Memory on each device and FLOPs of a step, before anything is allocated or loaded; config.json is
enough, and no such device has to be there:

    python -m dignified_jax.train --config=configs/lagdpo.py:llama3-8b --plan --plan_devices=8xh200

Every field of the configuration can be overridden by a flag; see dignified_jax/training/config.py.
An error is told in a line; --verbosity=1 shows where it came from.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from absl import app, flags
from ml_collections import config_flags

from dignified_jax.training import command

# Unknown fields are let through to `training_config.parse`, which says what is known.
_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Configuration file, such as configs/lagdpo.py:tiny.",
    lock_config=False,
    accept_new_attributes=True,
)

_PLAN = flags.DEFINE_bool("plan", False, "Print what the run would take, and do not start it.")
_PLAN_DEVICES = flags.DEFINE_string(
    "plan_devices", None, "Devices to plan for, such as 8xv5p or h200; those here by default."
)
_PLAN_ROWS = flags.DEFINE_integer(
    "plan_rows", None, "Packed rows of a step to plan for; those of the data by default.", 1
)

parse_flags = functools.partial(command.parse_flags, _CONFIG)


def main(arguments: Sequence[str]) -> None:
    """Parses the configuration, runs it, and exits with 1 and a message on a known failure."""
    config = command.configuration(_CONFIG, arguments, "configs/lagdpo.py")
    if not _PLAN.value and (_PLAN_DEVICES.value, _PLAN_ROWS.value) != (None, None):
        sys.exit("error: --plan_devices and --plan_rows have no meaning without --plan")
    # Imported late: --help and usage errors need neither JAX nor transformers.
    from dignified_jax.planning import report
    from dignified_jax.training import config as training_config
    from dignified_jax.training import stages

    if config.get("distributed") is True and not _PLAN.value:
        import jax

        jax.distributed.initialize()  # before anything touches a device, so before parse
    with command.exiting():
        parsed = training_config.parse(config)
        if _PLAN.value:
            print(report.report(parsed, _PLAN_DEVICES.value, _PLAN_ROWS.value))
        else:
            stages.run(parsed)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
