"""Trains a policy: `python -m dignified_jax.train --config=configs/lagdpo.py`.

Worked example, on the embedded model and data (minutes on 2 CPU cores):

    python -m dignified_jax.train --config=configs/lagdpo.py --config.workdir=runs/first
    python -m dignified_jax.train --config=configs/lagdpo.py:qwen3-4b \
        --config.data.train=train.jsonl --config.data.test=test.jsonl

Every field of the configuration can be overridden by a flag; see dignified_jax/training/config.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Configuration file, such as configs/lagdpo.py:tiny.", lock_config=True
)


def main(arguments: Sequence[str]) -> None:
    """Parses the configuration, runs it, and exits with 1 and a message on a known failure."""
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(arguments[1:])}")
    if _CONFIG.value is None:
        raise app.UsageError("--config is required, such as --config=configs/lagdpo.py")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # Orbax narrates every file at INFO
    # Imported late: --help and usage errors need neither JAX nor transformers.
    from dignified_jax.training import config as training_config
    from dignified_jax.training import loop

    try:
        config = training_config.parse(_CONFIG.value)
        if config.distributed:
            import jax

            jax.distributed.initialize()
        loop.run(config)
    except (ValueError, FileNotFoundError, PermissionError, loop.NonFiniteError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
