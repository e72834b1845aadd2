"""The rows that methods train on, where only some dimensions' rejects are looked at."""

from __future__ import annotations

import functools
import pathlib
import tempfile
import warnings
from collections.abc import Sequence

import numpy as np

from dignified_jax.cluster import members
from dignified_jax.console.waiting import waiting
from dignified_jax.data.store.texts import Chosen
from dignified_jax.objectives import GOLDEN, Objective
from dignified_jax.training.config import ConfigError, TrainConfig
from dignified_jax.training.inputs.rows import Rows, read_splits
from dignified_jax.training.inputs.text_encoder import trained_responses


def trained_on(config: TrainConfig, split: str, rows: Rows, responses: Sequence[str]) -> Rows:
    """Returns the rows of a split that have a reject to train on.

    Args:
      config: the run's.
      split: its name.
      rows: all of it.
      responses: those that are trained on, `GOLDEN` first.

    Raises:
      ConfigError: there is none.
    """
    wanted = set(responses) - {GOLDEN}
    if not wanted or wanted >= set(config.data.dimensions):
        return rows
    chosen = [number for number, row in enumerate(rows) if wanted & row.rejects.keys()]
    if not chosen:
        raise ConfigError(
            f"method {config.method.name!r} trains on {', '.join(responses[1:])}, but no "
            f"{split} row has a reject of these"
        )
    return Chosen(rows, np.array(chosen))


def check(config: TrainConfig, objectives: Sequence[Objective]) -> None:
    """Reads the rows once, in the first process, to see that each objective finds some to train on.

    Args:
      config: of the run of several trainings.
      objectives: what they optimise, one after the other.

    Raises:
      ConfigError: there is none for one of them.
      BadRowsError, ValueError, FileNotFoundError: see `dignified_jax.data`.
    """
    if not members.is_first():
        return
    members.again("reading rows", "job")
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        # The trainings read the rows too: those say what is odd, and set bad rows aside.
        warnings.simplefilter("ignore")
        show = functools.partial(waiting, visible=True)
        rows = read_splits(config, pathlib.Path(directory), show)
        for objective in objectives:
            names = trained_responses(objective, config.data.dimensions)
            trained_on(config, "train", rows.train, names)
