"""Tables of a sparse fit: every facet, however many, and how well its levels are told apart."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from dignified_jax.console.table import Table
from dignified_jax.mfrm.diagnostics.separation import independent_chi_square, separation
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.report import tables
from dignified_jax.mfrm.report.facet_names import rename, word
from dignified_jax.mfrm.result import Fit
from dignified_jax.mfrm.sparse.statistics import LevelStatistics, level_statistics


def sparse_tables(fit: Fit, ratings: SparseRatings) -> list[Table]:
    """A table for each facet of more than one level, and their separation."""
    found = level_statistics(fit, ratings)
    several = {name: about for name, about in found.items() if about.measure.size > 1}
    made = [
        rename(_measures(fit, name, about, ratings), ratings.names)
        for name, about in several.items()
    ]
    rows = {}
    for name, about in several.items():
        measure, error = jnp.asarray(about.measure), jnp.asarray(about.standard_error)
        chi_square = independent_chi_square(measure, error, zero_sum=name != "model")
        rows[name] = separation(measure, error, chi_square)
    return [*made, rename(tables.separations_table(rows), ratings.names)]


def sparse_summary(fit: Fit, ratings: SparseRatings) -> list[str]:
    """Lines to read before the tables."""
    sizes = ", ".join(
        f"{len(labels)} {word(name, ratings.names)}{'' if len(labels) == 1 else 's'}"
        for name, labels in ratings.labels.items()
        if labels != (None,)
    )
    return [
        f"{int(ratings.trials.sum()):,} ratings: {sizes}",
        *(f"note: {note}" for note in ratings.notes),
        fit.message,
        f"{int(fit.iterations)} iterations, log-likelihood {float(fit.log_likelihood):.2f}",
        "precision of the priors: "
        + ", ".join(f"{name} {float(value):.3g}" for name, value in vars(fit.precision).items()),
    ]


def _measures(fit: Fit, name: str, about: LevelStatistics, ratings: SparseRatings) -> Table:
    """A level a row."""
    columns: dict[str, list[object]] = {
        name: list(ratings.labels[name]),
        "ratings": about.count.astype(int).tolist(),
        "score": about.score.astype(int).tolist(),
        "observed": (about.score / np.maximum(about.count, 1)).tolist(),
        "expected": (about.expected / np.maximum(about.count, 1)).tolist(),
        "fair": about.fair.tolist(),
        "measure": about.measure.tolist(),
        "se": about.standard_error.tolist(),
        "infit": about.infit.tolist(),
        "infit_z": about.infit_zstd.tolist(),
        "outfit": about.outfit.tolist(),
        "outfit_z": about.outfit_zstd.tolist(),
    }
    extreme = np.where(about.score == 0, "all failures", "")
    columns["extreme"] = np.where(about.score == about.count, "all successes", extreme).tolist()
    if not any(columns["extreme"]):
        del columns["extreme"]
    kind = {"model": "score", "judge": "severity"}.get(name, "difficulty")
    title = f"{name}: measure is the {kind} in logits"
    return Table(name, title, columns, summarised=tables.SUMMARISED)
