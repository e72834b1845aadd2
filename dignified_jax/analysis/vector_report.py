"""Persona vectors and what speaks for them: JSON, table, figures."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dignified_jax.analysis import contrasts, figures, vectors
from dignified_jax.analysis.vectors import Evidence
from dignified_jax.console.table import Table
from dignified_jax.models.checkpoint.vector_file import PersonaVector


def cosines_between(found: Sequence[PersonaVector]) -> np.ndarray:
    """(vector, vector), each pair at the layer of the row's."""
    return np.array(
        [[vectors.cosine(a.difference, b.difference)[a.layer] for b in found] for a in found]
    )


def as_json(evidence: Evidence) -> dict[str, Any]:
    estimates = {"reliability": evidence.reliability, "auroc": evidence.separation.auroc}
    return {
        **{
            f"{name}{end}": getattr(each, part).tolist()
            for name, each in estimates.items()
            for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
        },
        "effect": evidence.separation.effect.tolist(),
        "opposite": evidence.opposite.tolist(),
        "projections": dict(zip(contrasts.POLES, evidence.projections.tolist(), strict=True)),
        "neutral_spread": evidence.spread.tolist(),
    }


def table(found: Sequence[PersonaVector], evidence: Mapping[str, Evidence]) -> Table:
    columns: dict[str, list[object]] = {
        name: []
        for name in (
            *("dimension", "layer", "AUROC", "from", "to"),
            *("effect", "split-half cosine", "opposite", "length"),
        )
    }
    for vector in found:
        own, at = evidence[vector.name], vector.layer
        auroc = own.separation.auroc
        row = (
            *(vector.name, at, float(auroc.value[at]), float(auroc.low[at]), float(auroc.high[at])),
            *(float(own.separation.effect[at]), float(own.reliability.value[at])),
            *(float(own.opposite[at]), float(np.linalg.norm(vector.difference[at]))),
        )
        for values, value in zip(columns.values(), row, strict=True):
            values.append(value)
    return Table("vectors", "Persona vectors at their layers", columns)


def draw(
    workdir: pathlib.Path,
    found: Sequence[PersonaVector],
    evidence: Mapping[str, Evidence],
    told: Mapping[str, Mapping[str, Any]],
    cosines: np.ndarray,
) -> None:
    def panels(of: str) -> dict[str, list[figures.Series]]:
        made = {}
        for vector in found:
            own = evidence[vector.name]
            each = own.reliability if of == "reliability" else own.separation.auroc
            x = np.arange(len(each.value))
            title = f"{vector.name}: {told[vector.name]['title']}, layer {vector.layer}"
            series = figures.Series("", x, each.value, each.low, each.high, vector.layer)
            made[title] = [series]
        return made

    titles = {
        "separation": ("AUROC of held-out pairs", 0.5),
        "reliability": ("cosine of the halves' vectors", 0.0),
    }
    for name, (title, level) in titles.items():
        figure = figures.curves(panels(name), "layer", title, level)
        figures.save(workdir / f"{name}.png", figure)
    if len(found) > 1:
        names = [vector.name for vector in found]
        figure = figures.heatmaps(
            {"Between vectors": (cosines, names)}, "cosine at the row's layer"
        )
        figures.save(workdir / "cosines.png", figure)


def draw_axis(file: pathlib.Path, layer: int, facts: Mapping[str, Any], assistant: str) -> None:
    """Draws where each persona lies along the Assistant Axis.

    Args:
      file: PNG.
      layer: at which.
      facts: loadings of the personas there, and the component's share of each layer's variance.
      assistant: name of the assistant among the loadings.
    """
    share = 100 * facts["explained"][layer]
    title = f"along the first component at layer {layer}, {share:.0f}% of the variance"
    figures.save(file, figures.ranking(facts["loadings"], assistant, title))
