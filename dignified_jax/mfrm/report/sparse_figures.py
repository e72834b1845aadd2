"""Figures of a sparse fit. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from dignified_jax.mfrm.diagnostics.adjusted import ADJUSTMENT
from dignified_jax.mfrm.diagnostics.shifts import measure_of_ranks
from dignified_jax.mfrm.report import plots, scale_plots, wright
from dignified_jax.mfrm.report.facet_names import file_name, say, word
from dignified_jax.mfrm.report.sparse_report import SparseReport, all_labels
from dignified_jax.mfrm.sparse.entries import entries_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sparse_figures(report: SparseReport) -> Iterator[tuple[str, str, Figure]]:
    """Name, title and figure of all there is to draw."""
    fit, ratings, found = report.fit, report.ratings, report.statistics
    labels, names, categories = ratings.labels, ratings.names, ratings.categories
    headings = names
    if ratings.extra:
        headings = names | {"rubric": " and ".join([word("rubric", names), *ratings.extra])}
    models = found["model"].measure, found["model"].standard_error
    map_of_all = wright.draw_wright_map(
        fit,
        all_labels(ratings),
        categories=categories,
        names=headings,
        adjusted={"model": models},
    )
    yield "wright_map", "Wright map", map_of_all
    yield "calibration_shift", "From raw means to calibrated scores", _shift(report)
    places = {
        name: (about.measure, about.infit, about.count)
        for name, about in found.items()
        if about.measure.size > 1
    }
    yield "fit_plot", "Infit by measure", plots.draw_infit(places, report.infit, labels, names)
    if categories is not None:
        curves = scale_plots.draw_category_plot(fit, labels, categories)
        yield "category_curves", "Category probabilities and information", curves
    for pair, about in report.bias.items():
        title = f"Bias of {say(' by '.join(pair), names)}"
        figure = scale_plots.draw_bias_plot(about, labels, pair)
        yield file_name(f"bias_{'_'.join(pair)}", names), title, figure


def _shift(report: SparseReport) -> Figure:
    """Raw means and scores, extreme ones adjusted."""
    fit, model, ratings = report.fit, report.statistics["model"], report.ratings
    at, size = entries_of(fit, ratings), model.measure.size
    # Categories count from 0 among those in use.
    mean, most = (
        np.bincount(ratings.model, weights=values, minlength=size) / model.count
        for values in (at.successes, at.most)
    )
    least = ADJUSTMENT / model.count
    raw = measure_of_ranks(fit, np.clip(mean, least, most - least))
    infinite = np.isinf(np.asarray(fit.score))
    return plots.draw_shift(
        report.ratings.labels["model"], raw, model.measure, model.standard_error, infinite
    )
