r"""Trains a policy: `python -m dignified_jax.train --config=configs/lagdpo.py`.

Worked example, on the embedded model and data (minutes on 2 CPU cores):

    python -m dignified_jax.train --config=configs/lagdpo.py --config.workdir=runs/first
    python -m dignified_jax.train --config=configs/lagdpo.py:qwen3-4b \
        --config.data.train=train.jsonl --config.data.test=test.jsonl

Every field of the configuration can be overridden by a flag; see dignified_jax/training/config.py.
An error is told in a line; --verbosity=1 shows where it came from.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from absl import app
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

parse_flags = functools.partial(command.parse_flags, _CONFIG)


def main(arguments: Sequence[str]) -> None:
    """Parses the configuration, runs it, and exits with 1 and a message on a known failure."""
    config = command.configuration(_CONFIG, arguments, "configs/lagdpo.py")
    # Imported late: --help and usage errors need neither JAX nor transformers.
    from dignified_jax.training import config as training_config
    from dignified_jax.training import recipes

    if config.get("distributed") is True:
        import jax

        jax.distributed.initialize()  # before anything touches a device, so before parse
    with command.exiting():
        recipes.run(training_config.parse(config))


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
