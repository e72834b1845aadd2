"""A report as files: CSV, JSON, PNG and HTML."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jax.typing import ArrayLike

from dignified_jax.console.table import Table
from dignified_jax.files import atomic
from dignified_jax.mfrm.report.facet_names import file_name, say
from dignified_jax.mfrm.report.names import key_of_numbers
from dignified_jax.mfrm.report.page import page
from dignified_jax.mfrm.report.report import Report, status, summary
from dignified_jax.mfrm.report.sparse_report import SparseReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write(found: Report, directory: pathlib.Path, options: dict[str, object]) -> list[pathlib.Path]:
    """CSV files of all tables, and one JSON file with them and with `options`; their paths."""
    written = _write_csv((*found.tables, found.cells), directory)
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
        "status": status(fit, found.ratings),
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


def figures(found: Report) -> Iterator[tuple[str, str, Figure]]:
    """Name, title and figure of all there is to draw."""
    from dignified_jax.mfrm.report import plots, scale_plots, wright

    fit, about, labels = found.fit, found.diagnostics, found.ratings.labels
    categories, names = getattr(found.ratings, "categories", None), found.ratings.names
    yield "wright_map", "Wright map", wright.draw_wright_map(fit, labels, about, categories, names)
    shift = plots.draw_calibration_shift(fit, about, labels)
    yield "calibration_shift", "Raw means and calibrated scores", shift
    yield "fit_plot", "Infit by measure", plots.draw_fit_plot(fit, about, labels, names)
    if categories is not None:
        curves = scale_plots.draw_category_plot(fit, labels, categories)
        yield "category_curves", "Category probabilities and information", curves
    for pair, bias in found.bias.items():
        name, title = f"bias_{'_'.join(pair)}", f"Bias of {say(' by '.join(pair), names)}"
        yield file_name(name, names), title, scale_plots.draw_bias_plot(bias, labels, pair)


def draw(
    made: Iterator[tuple[str, str, Figure]], directory: pathlib.Path
) -> dict[pathlib.Path, tuple[str, str, str]]:
    """Writes PNG files of figures: path -> name, title and the figure as an <svg> element."""
    from dignified_jax.mfrm.report.figures import as_svg, save

    drawn = {}
    for name, title, figure in made:
        path = directory / f"{name}.png"
        save(figure, path)
        drawn[path] = (name, title, as_svg(figure))
    return drawn


def write_page(
    found: Report,
    directory: pathlib.Path,
    title: str,
    drawn: Sequence[tuple[str, str, str]] = (),
) -> pathlib.Path:
    """Writes report.html with the tables and the figures that were drawn; its path."""
    path = directory / "report.html"
    lines = [*summary(found), *_keys(found.ratings.labels, drawn)]
    text = page(title, lines, found.tables, verdict=found.verdict, figures=drawn)
    atomic.write_text(path, text, errors="backslashreplace")
    return path


def write_sparse(
    found: SparseReport,
    lines: Sequence[str],
    directory: pathlib.Path,
    title: str,
    options: dict[str, object],
    drawn: Sequence[tuple[str, str, str]] = (),
) -> list[pathlib.Path]:
    """CSV files of a sparse fit's tables, fit.json and report.html; their paths."""
    written = _write_csv(found.tables, directory)
    told = [*lines, *_keys(found.ratings.labels, drawn)]
    content = {
        "options": options,
        "status": found.fit.message,
        "verdict": list(found.verdict),
        "tables": [table.json() for table in found.tables],
    }
    for name, text in {
        "fit.json": json.dumps(content, indent=1, allow_nan=False) + "\n",
        "report.html": page(title, told, found.tables, verdict=found.verdict, figures=drawn),
    }.items():
        written.append(directory / name)
        atomic.write_text(written[-1], text, errors="backslashreplace")
    return written


def _keys(
    labels: Mapping[str, Sequence[object]], drawn: Sequence[tuple[str, str, str]]
) -> list[str]:
    """Lines on labels that the figures show as numbers."""
    found = [key_of_numbers(levels, facet) for facet, levels in labels.items()] if drawn else []
    return list(filter(None, found))


def _write_csv(tables: Sequence[Table], directory: pathlib.Path) -> list[pathlib.Path]:
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        written.append(directory / f"{table.name}.csv")
        atomic.write_text(written[-1], table.csv(), errors="backslashreplace")
    return written


def _matrix(values: ArrayLike) -> list[list[float | None]]:
    return [
        [value if math.isfinite(value) else None for value in row]
        for row in np.asarray(values, float).tolist()
    ]
