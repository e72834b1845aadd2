r"""Compares methods: `python -m dignified_jax.compare --config=configs/compare.py`.

Worked example, two methods with two seeds on the embedded model and data:

    python -m dignified_jax.compare --config=configs/compare.py --config.workdir=runs/two \
        --config.methods="('lagdpo', 'multi_negative')" --config.seeds="(0, 1)"

Every run is in WORKDIR/runs; the same command goes on where it was stopped, and writes the report
into WORKDIR/report. See configs/compare.py for the fields.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from absl import app
from ml_collections import config_flags

from dignified_jax.training import command

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Configuration file, such as configs/compare.py:tiny.",
    lock_config=False,
    accept_new_attributes=True,
)

parse_flags = functools.partial(command.parse_flags, _CONFIG)


def main(arguments: Sequence[str]) -> None:
    """Runs what is not done, judges it, reports; exits with 1 and a message on a known failure."""
    config = command.configuration(_CONFIG, arguments, "configs/compare.py")
    # Imported late: --help and usage errors need neither JAX nor transformers.
    from dignified_jax.comparison import plan, report
    from dignified_jax.comparison import runs as comparison
    from dignified_jax.console import safe_stream

    notify = functools.partial(print, file=safe_stream.Unbreakable(sys.stdout), flush=True)
    with command.exiting():
        found, directory = comparison.run(plan.parse(config), notify)
        notify(f"\n{report.summary(found)}\n\nreport: {directory}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
