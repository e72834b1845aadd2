"""Everything there is to say about a fit, as tables, and those as files."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from dignified_jax.files import atomic
from dignified_jax.mfrm.diagnostics.agreement import agreement
from dignified_jax.mfrm.diagnostics.bootstrap import Bootstrap
from dignified_jax.mfrm.diagnostics.contrasts import contrasts
from dignified_jax.mfrm.diagnostics.diagnose import Diagnostics
from dignified_jax.mfrm.diagnostics.interactions import interactions
from dignified_jax.mfrm.diagnostics.sensitivity import JudgeSensitivity
from dignified_jax.mfrm.diagnostics.unexpected import unexpected_responses
from dignified_jax.mfrm.input.long_table import OrdinalRatings, Ratings
from dignified_jax.mfrm.report import judge_tables, tables
from dignified_jax.mfrm.report.tables import Table
from dignified_jax.mfrm.report.verdict import verdict
from dignified_jax.mfrm.result import FACETS, Fit

# More judges than this have no table of their pairs, and neither have more models.
MOST_COMPARED = 60


@dataclasses.dataclass(frozen=True)
class Report:
    """A fit with what was made of it.

    Attributes:
      fit: the estimates.
      diagnostics: of the fit.
      ratings: what it was fitted to.
      tables: to print, in this order.
      cells: the table of qualities, too long to print.
      verdict: sentences on who is harsh, who misfits, which pairs are biased.
      bootstrap: None where not asked for.
    """

    fit: Fit
    diagnostics: Diagnostics
    ratings: Ratings | OrdinalRatings
    tables: tuple[Table, ...]
    cells: Table
    verdict: tuple[str, ...] = ()
    bootstrap: Bootstrap | None = None


def report(
    fit: Fit,
    diagnostics: Diagnostics,
    ratings: Ratings | OrdinalRatings,
    *,
    pairs: Sequence[tuple[str, str]] = (("judge", "model"),),
    bootstrap: Bootstrap | None = None,
    sensitivity: JudgeSensitivity | None = None,
    judge_groups: dict[str, Sequence[int]] | None = None,
) -> Report:
    """The tables of a fit: facets, their separation, bias of pairs, what else is given.

    `judge_groups` (name -> judges by number) have agreements of their own. Ordinal fits have steps.
    Pairs with a facet of a single level are left out.
    """
    labels = ratings.labels
    made = [tables.measure_table(fit, diagnostics, labels, facet) for facet in FACETS]
    made.append(tables.separation_table(diagnostics))
    if isinstance(ratings, OrdinalRatings):
        made.append(tables.step_table(fit, labels, ratings.categories))
    ordinal = isinstance(ratings, OrdinalRatings)
    counts = (ratings.counts,) if ordinal else (ratings.successes, ratings.trials)
    categories = ratings.categories if ordinal else None
    bias = {}
    for pair in pairs:
        if min(len(labels[facet]) for facet in pair) < 2:
            continue  # with one level there is nothing to interact with
        found = interactions(fit, *counts, facets=pair, categories=categories)
        bias[pair] = found
        made.append(tables.bias_table(found, labels, pair))
    if 1 < len(labels["judge"]) <= MOST_COMPARED:
        agreed = agreement(fit, *counts, categories=categories, groups=judge_groups)
        made.append(judge_tables.agreement_table(agreed))
        made.append(judge_tables.agreement_pairs_table(agreed, labels))
    surprises = unexpected_responses(fit, *counts, categories=categories)
    made.append(judge_tables.unexpected_table(surprises, labels))
    if 1 < len(labels["model"]) <= MOST_COMPARED:
        covariance = None if bootstrap is None else bootstrap.covariance
        made.append(tables.contrast_table(contrasts(fit, covariance), labels))
    if bootstrap is not None:
        made.append(tables.bootstrap_table(fit, bootstrap, labels))
    if sensitivity is not None:
        made.append(tables.sensitivity_table(sensitivity, labels))
    return Report(
        fit=fit,
        diagnostics=diagnostics,
        ratings=ratings,
        tables=tuple(made),
        cells=tables.cell_table(fit, diagnostics, labels),
        verdict=tuple(verdict(fit, diagnostics, labels, bias)),
        bootstrap=bootstrap,
    )


def summary(found: Report) -> list[str]:
    """Lines to read before the tables."""
    fit, trials = found.fit, np.asarray(found.ratings.trials)
    sizes = ", ".join(
        f"{len(found.ratings.labels[facet])} {facet}{'' if n == 1 else 's'}"
        for facet, n in zip(FACETS, trials.shape, strict=True)
    )
    rated = np.count_nonzero(trials) / trials.size
    overall = found.diagnostics.overall
    cells = np.asarray(fit.extreme.cell)
    extreme = np.isin(cells, (1, -1)).mean()
    kinds = "successes or only failures" if fit.step is None else "the highest or the lowest score"
    lines = [
        f"{trials.sum():,} ratings: {sizes}; {rated:.0%} of all combinations rated",
        *(f"note: {note}" for note in found.ratings.notes),
        fit.describe(found.ratings.labels),
        *found.verdict,
        f"{int(fit.iterations)} iterations, log-likelihood {float(fit.log_likelihood):.2f}",
        "precision of the priors: "
        + ", ".join(f"{name} {float(value):.3g}" for name, value in vars(fit.precision).items()),
        f"{extreme:.0%} of the answers have only {kinds}: their quality is set by its prior",
        f"overall infit {float(overall.infit):.2f}, outfit {float(overall.outfit):.2f}: compare "
        "levels with these, not with 1, as every answer's quality was fitted to the same ratings",
    ]
    samples = found.bootstrap
    if samples is None:
        lines.append("standard errors treat the questions as fixed (--bootstrap N draws them anew)")
    elif samples.failed or samples.infinite or samples.incomplete:
        stopped = samples.failed - samples.singular
        lines.append(
            f"of {len(samples.score)} bootstrap samples {samples.singular} did not determine every "
            f"level and {stopped} did not converge (both left out); {samples.incomplete} had no "
            "ratings of some judge, item or model, which are left out of them; "
            f"{samples.infinite} had an infinite score, which is in the intervals only"
        )
    return lines


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
