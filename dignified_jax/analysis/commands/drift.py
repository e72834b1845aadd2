"""`analyze drift`: how far training moved a model's states from its base."""

from __future__ import annotations

import argparse
import pathlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dignified_jax.analysis import drift, extraction, figures
from dignified_jax.analysis.commands import flags
from dignified_jax.analysis.drift import StateDrift
from dignified_jax.analysis.responses import Notify
from dignified_jax.analysis.separation import Estimate
from dignified_jax.console.table import Table
from dignified_jax.console.waiting import waiting
from dignified_jax.evaluation import models
from dignified_jax.evaluation.config import EvaluationConfig
from dignified_jax.evaluation.stages.generate import read_prompts
from dignified_jax.files import atomic, lock
from dignified_jax.models.checkpoint.vector_file import PersonaVector
from dignified_jax.models.checkpoint.vector_file import read as read_vectors
from dignified_jax.typed_config import count_argument, path_argument, place_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    add = parser.add_argument
    add("--base", required=True, type=place_argument, help=f"before training: {flags.MODEL}")
    add(
        "--model",
        required=True,
        action="append",
        type=flags.named,
        metavar="NAME=PATH",
        help="after training, from the same paths; repeatable, a curve each",
    )
    flags.add_workdir(parser)
    add(
        "--prompts",
        type=path_argument,
        metavar="FILE",
        default="embedded:personaknob_mini/test.jsonl",
        help="JSON lines {id, prompt}, or preference rows; default %(default)s",
    )
    add("--most_prompts", type=count_argument, help="of the prompts, the first ones")
    add(
        "--vectors",
        type=path_argument,
        metavar="FILE",
        help="of `analyze vectors` on the base: how far the states moved along them",
    )
    add("--seed", type=int, default=0, help="of the order of the prompts; default 0")
    flags.add_dtype(parser)


def run(options: argparse.Namespace, notify: Notify) -> None:
    """Writes drift.json and curves into the workdir.

    Raises:
      ValueError, OSError: what is wrong, by name.
      BusyError: another process works in the same directory.
    """
    names = [name for name, _ in options.model]
    if len(set(names)) < len(names):
        raise ValueError(f"--model: expected distinct names, found {', '.join(names)}")
    workdir = pathlib.Path(options.workdir)
    prompts = read_prompts(
        EvaluationConfig(
            models=("base=base",), prompts=options.prompts, most_prompts=options.most_prompts
        )
    )
    workdir.mkdir(parents=True, exist_ok=True)
    with lock.held(workdir, notify):
        base = models.load("base", options.base, options.dtype)
        vectors: Sequence[PersonaVector] = ()
        if options.vectors is not None:
            found = read_vectors(options.vectors, base.module.config)
            vectors = list(found.vectors.values())
        names_of = list(prompts)
        random.Random(options.seed).shuffle(names_of)
        texts = tuple(prompts[name] for name in names_of)
        readings = extraction.PromptReadings(texts, base.template())
        longest = readings.check(names_of, base.module.config.max_position_embeddings)
        drifts, weights = {}, {}
        for name, path in options.model:
            model = models.load(name, path, options.dtype)
            drift.check_size(base, model)
            with waiting(f"{name}: states") as count:
                drifts[name] = drift.measure(base, model, readings, longest, vectors, count)
            weights[name] = model.digest
        provenance = {
            **flags.made(),
            "base": {"path": options.base, "weights": base.digest},
            "models": {name: {"path": p, "weights": weights[name]} for name, p in options.model},
            **{"prompts": options.prompts, "texts": len(readings), "dtype": options.dtype},
            "vectors": options.vectors,
        }
        layers = {vector.name: vector.layer for vector in vectors}
        told = {name: _json(own, layers) for name, own in drifts.items()}
        atomic.write_json(workdir / "drift.json", {"provenance": provenance, "models": told})
        _draw(workdir, drifts, layers)
    notify(_table(drifts).text())
    if layers:
        notify(_shifts_table(drifts, layers).text())
    notify(f"drift: {workdir / 'drift.json'}")


def _json(own: StateDrift, layers: Mapping[str, int]) -> dict[str, Any]:
    def listed(each: Estimate) -> dict[str, Any]:
        parts = {"value": each.value, "low": each.low, "high": each.high}
        return {name: _known(part) for name, part in parts.items()}

    return {
        "texts": own.texts,
        **{name: listed(getattr(own, name)) for name in ("cosine", "change", "cka")},
        "shifts": {
            name: {
                "layer": layer,
                "alignment": _known(own.alignment[at]),
                **listed(
                    Estimate(*(getattr(own.shifts, part)[at] for part in ("value", "low", "high")))
                ),
            }
            for at, (name, layer) in enumerate(layers.items())
        },
        "shift_correlation": _known(own.correlation),
    }


def _known(values: np.ndarray) -> list[object]:
    """A list for a JSON file, null for what is not a number."""
    return np.where(np.isfinite(values), values, None).tolist()


def _table(drifts: Mapping[str, StateDrift]) -> Table:
    columns: dict[str, list[object]] = {
        "model": list(drifts),
        "lowest cosine": [float(own.cosine.value.min()) for own in drifts.values()],
        "at layer": [int(own.cosine.value.argmin()) for own in drifts.values()],
        "last cosine": [float(own.cosine.value[-1]) for own in drifts.values()],
        "lowest CKA": [float(own.cka.value.min()) for own in drifts.values()],
        "change %": [100 * float(own.change.value.mean()) for own in drifts.values()],
    }
    return Table("drift", "Drift from the base", columns)


def _shifts_table(drifts: Mapping[str, StateDrift], layers: Mapping[str, int]) -> Table:
    columns: dict[str, list[object]] = {
        name: [] for name in ("model", "vector", "layer", "shift %", "from", "to", "cosine")
    }
    for model, own in drifts.items():
        for at, (name, layer) in enumerate(layers.items()):
            parts = (own.shifts.value, own.shifts.low, own.shifts.high)
            shift = [100 * float(part[at, layer]) for part in parts]
            row = (model, name, layer, *shift, float(own.alignment[at, layer]))
            for values, value in zip(columns.values(), row, strict=True):
                values.append(value)
    note = "shift: in per cent of the vector; cosine: of the mean change with the vector"
    return Table("shifts", "Mean shift along the vectors, at their layers", columns, notes=(note,))


def _draw(
    workdir: pathlib.Path, drifts: Mapping[str, StateDrift], layers: Mapping[str, int]
) -> None:
    def series(own: Estimate, name: str, chosen: int | None = None) -> figures.Series:
        x = np.arange(len(own.value))
        return figures.Series(name, x, own.value, own.low, own.high, chosen)

    panels = {
        title: [series(getattr(own, key), name) for name, own in drifts.items()]
        for title, key in (("cosine to the base", "cosine"), ("CKA with the base", "cka"))
    }
    figure = figures.curves(panels, "layer", "similarity of states", 1.0, shared_y=False)
    figures.save(workdir / "drift.png", figure)
    if not layers:
        return
    panels = {}
    for at, (vector, layer) in enumerate(layers.items()):
        panels[f"along {vector}, layer {layer}"] = [
            series(
                Estimate(
                    *(100 * getattr(own.shifts, part)[at] for part in ("value", "low", "high"))
                ),
                name,
                layer if number == 0 else None,
            )
            for number, (name, own) in enumerate(drifts.items())
        ]
    figure = figures.curves(panels, "layer", "mean shift, % of the vector", 0.0)
    figures.save(workdir / "shifts.png", figure)
    matrices = {name: (own.correlation, list(layers)) for name, own in drifts.items()}
    figure = figures.heatmaps(matrices, "correlation of the texts' shifts")
    figures.save(workdir / "shift_correlation.png", figure)
