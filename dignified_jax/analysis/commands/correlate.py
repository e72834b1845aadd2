"""`analyze correlate`: correlations between dimensions from an evaluation's scores."""

from __future__ import annotations

import argparse
import pathlib
from typing import get_args

import numpy as np

from dignified_jax.analysis import correlation, figures
from dignified_jax.analysis.commands import flags
from dignified_jax.analysis.correlation import Correlations
from dignified_jax.analysis.responses import Notify
from dignified_jax.console.table import Table
from dignified_jax.console.waiting import waiting
from dignified_jax.evaluation import rubrics
from dignified_jax.evaluation.scores.calibration import FitMethod
from dignified_jax.files import atomic, lock
from dignified_jax.typed_config import count_argument, path_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    add = parser.add_argument
    add(
        "--evaluation",
        required=True,
        type=path_argument,
        metavar="DIR|FILE",
        help="directory of `evaluate`, or a table (model, question, judge, rubric, score)",
    )
    flags.add_workdir(parser)
    add("--models", type=flags.names, metavar="A,T", help="labels to look at; default all")
    add("--rubric", type=path_argument, metavar="FILE", help="default the persona rubric")
    add(
        "--method",
        choices=get_args(FitMethod),
        default="quadrature",
        help="as scoring.method of `evaluate`; default %(default)s",
    )
    add("--replicates", type=count_argument, default=100, help="of the bootstrap; default 100")
    add("--seed", type=int, default=0, help="of its samples; default 0")


def run(options: argparse.Namespace, notify: Notify) -> None:
    """Writes correlations.json, a radar and heat maps into the workdir.

    Raises:
      ValueError, OSError: what is wrong, by name.
      BusyError: another process works in the same directory.
    """
    if options.replicates < 2:
        raise ValueError(f"--replicates: expected at least 2, found {options.replicates}")
    workdir = pathlib.Path(options.workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    with lock.held(workdir, notify):
        with waiting("scoring"):
            scores = correlation.read(
                *(options.evaluation, options.rubric or rubrics.PERSONA, options.method),
                *(options.replicates, options.seed, options.models or ()),
            )
        found = correlation.correlate(scores, options.models or ())
        told = {
            "provenance": {
                **flags.made(),
                "evaluation": options.evaluation,
                "method": options.method,
            },
            **{name: list(getattr(found, name)) for name in ("dimensions", "models")},
            **{
                name: _known(getattr(found, name))
                for name in ("scores", "errors", "over_models", "low", "high", "over_responses")
            },
            "responses": found.responses,
        }
        atomic.write_json(workdir / "correlations.json", told)
        rings = dict(zip(found.models, found.scores.T, strict=True))
        if np.isfinite(found.scores).any():
            figure = figures.radar(rings, found.dimensions, "MFRM score in logits")
            figures.save(workdir / "radar.png", figure)
        names = list(found.dimensions)
        panels = {
            f"over {len(found.models)} models": (found.over_models, names),
            f"over {found.responses} responses": (found.over_responses, names),
        }
        figures.save(workdir / "correlations.png", figures.heatmaps(panels, "correlation"))
    notify(_table(found).text())
    notify(f"correlations: {workdir / 'correlations.json'}")


def _known(values: np.ndarray) -> list[object]:
    return np.where(np.isfinite(values), values, None).tolist()


def _table(found: Correlations) -> Table:
    pairs = [(a, b) for a in range(len(found.dimensions)) for b in range(a)]
    columns: dict[str, list[object]] = {
        "dimensions": [f"{found.dimensions[b]}, {found.dimensions[a]}" for a, b in pairs],
        "over models": [float(found.over_models[at]) for at in pairs],
        "from": [float(found.low[at]) for at in pairs],
        "to": [float(found.high[at]) for at in pairs],
        "over responses": [float(found.over_responses[at]) for at in pairs],
    }
    notes = [
        f"{len(found.models)} models; intervals are over samples of questions, for these models"
    ]
    blank = [
        name
        for name, scores in zip(found.dimensions, found.scores, strict=True)
        if not np.isfinite(scores).any()
    ]
    if blank:
        notes.append(
            f"{', '.join(blank)}: no score could be fitted; the report of `evaluate` says why"
        )
    return Table("correlations", "Correlations between dimensions", columns, notes=tuple(notes))
