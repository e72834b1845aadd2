"""A report as files: CSV, JSON and PNG."""

from __future__ import annotations

import json
import math
import pathlib

import numpy as np
from jax.typing import ArrayLike

from dignified_jax.files import atomic
from dignified_jax.mfrm.report.report import Report


def write(found: Report, directory: pathlib.Path, options: dict[str, object]) -> list[pathlib.Path]:
    """CSV files of all tables, and one JSON file with them and with `options`; their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for table in (*found.tables, found.cells):
        path = directory / f"{table.name}.csv"
        atomic.write_text(path, table.csv(), errors="backslashreplace")
        written.append(path)
    path = directory / "fit.json"
    atomic.write_text(path, json.dumps(as_json(found, options), indent=1, allow_nan=False) + "\n")
    return [*written, path]


def as_json(found: Report, options: dict[str, object]) -> dict[str, object]:
    """The report in JSON's types; null for what is not a finite number."""
    fit = found.fit
    scores = {"models": list(map(str, found.ratings.labels["model"]))}
    scores["questions_fixed"] = _matrix(fit.score_covariance)
    if found.bootstrap is not None:
        scores["bootstrap"] = _matrix(found.bootstrap.covariance)
    result = {
        "options": options,
        "status": fit.describe(found.ratings.labels),
        "verdict": list(found.verdict),
        "iterations": int(fit.iterations),
        "log_likelihood": float(fit.log_likelihood),
        "precision": {name: float(value) for name, value in vars(fit.precision).items()},
        "score_covariance": scores,
        "tables": [table.json() for table in (*found.tables, found.cells)],
    }
    if found.bootstrap is not None:
        result["bootstrap"] = {
            "replicates": len(found.bootstrap.score),
            "failed": found.bootstrap.failed,
            "infinite": found.bootstrap.infinite,
            "singular": found.bootstrap.singular,
            "incomplete": found.bootstrap.incomplete,
        }
    return result


def draw(found: Report, directory: pathlib.Path) -> list[pathlib.Path]:
    """The three figures; their paths."""
    from dignified_jax.mfrm.report import plots

    labels = found.ratings.labels
    paths = [directory / f"{name}.png" for name in ("wright_map", "calibration_shift", "fit_plot")]
    plots.wright_map(paths[0], found.fit, labels, found.diagnostics)
    plots.calibration_shift(paths[1], found.fit, found.diagnostics, labels)
    plots.fit_plot(paths[2], found.fit, found.diagnostics, labels)
    return paths


def _matrix(values: ArrayLike) -> list[list[float | None]]:
    return [
        [value if math.isfinite(value) else None for value in row]
        for row in np.asarray(values, float).tolist()
    ]
