"""Everything there is to say about a fit, as tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from dignified_jax.mfrm.diagnostics.agreement import agreement
from dignified_jax.mfrm.diagnostics.bootstrap import Bootstrap
from dignified_jax.mfrm.diagnostics.category_statistics import category_statistics
from dignified_jax.mfrm.diagnostics.contrasts import contrasts
from dignified_jax.mfrm.diagnostics.diagnose import Diagnostics
from dignified_jax.mfrm.diagnostics.dimensionality import VARIABLES, dimensionality
from dignified_jax.mfrm.diagnostics.interactions import Interactions, interactions
from dignified_jax.mfrm.diagnostics.judges.drift import drift
from dignified_jax.mfrm.diagnostics.judges.effects import judge_effects
from dignified_jax.mfrm.diagnostics.judges.groups import compare_groups
from dignified_jax.mfrm.diagnostics.pairwise_bias import pairwise_bias
from dignified_jax.mfrm.diagnostics.residual_summary import residual_summary
from dignified_jax.mfrm.diagnostics.sensitivity import JudgeSensitivity
from dignified_jax.mfrm.diagnostics.shifts import Shifts, shifts
from dignified_jax.mfrm.diagnostics.unexpected import unexpected_responses
from dignified_jax.mfrm.input.long_table import OrdinalRatings, Ratings
from dignified_jax.mfrm.report import judge_tables, scale_tables, tables
from dignified_jax.mfrm.report.facet_names import rename, say, word
from dignified_jax.mfrm.report.tables import Table
from dignified_jax.mfrm.report.verdict import Findings, verdict
from dignified_jax.mfrm.result import ALL_FAILURES, ALL_SUCCESSES, FACETS, UNRATED, Fit

# More judges than this have no table of their pairs, and neither have more models.
MOST_COMPARED = 60
# More judges or items than this are not taken for variables of principal components.
MOST_VARIABLES = 300


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
      bias: pair of facets -> its interactions.
      shifts: from raw means to scores.
      bootstrap: None where not asked for.
    """

    fit: Fit
    diagnostics: Diagnostics
    ratings: Ratings | OrdinalRatings
    tables: tuple[Table, ...]
    cells: Table
    verdict: tuple[str, ...]
    bias: dict[tuple[str, str], Interactions]
    shifts: Shifts
    bootstrap: Bootstrap | None = None


def report(
    fit: Fit,
    diagnostics: Diagnostics,
    ratings: Ratings | OrdinalRatings,
    *,
    pairs: Sequence[tuple[str, str]] = (("judge", "model"),),
    bootstrap: Bootstrap | None = None,
    sensitivity: JudgeSensitivity | None = None,
    judge_groups: Mapping[str, Sequence[int]] | None = None,
) -> Report:
    """The tables of a fit: facets, their separation, bias of pairs, what else is given.

    `judge_groups` (name -> judges by number) have agreements of their own and are compared. Ordinal
    fits have steps. Pairs with a facet of a single level are left out.
    """
    labels = ratings.labels
    ordinal = isinstance(ratings, OrdinalRatings)
    counts = (ratings.counts,) if ordinal else (ratings.successes, ratings.trials)
    categories = ratings.categories if ordinal else None
    raw = shifts(fit, *counts)
    scale = category_statistics(fit, *counts)
    names = ratings.names
    # Of facets that the user named, those that were left out have no table.
    shown = [facet for facet in FACETS if not names or facet in names]
    made = [tables.measure_table(fit, diagnostics, labels, facet) for facet in shown]
    made += [
        tables.separation_table(diagnostics),
        scale_tables.residual_table(residual_summary(fit, *counts, categories=categories)),
        scale_tables.shift_table(raw, labels),
        scale_tables.category_table(scale, labels, categories),
    ]
    if categories is not None:
        made.append(tables.step_table(fit, labels, categories))
    bias = {
        pair: interactions(fit, *counts, facets=pair, categories=categories)
        for pair in pairs
        if min(len(labels[facet]) for facet in pair) > 1  # one level has nothing to interact with
    }
    made += [tables.bias_table(found, labels, pair, ordinal) for pair, found in bias.items()]
    made += [
        tables.pairwise_bias_table(pairwise_bias(found), labels, pair)
        for pair, found in bias.items()
        if len(labels[pair[0]]) <= MOST_COMPARED
    ]
    about, findings = _judges(fit, counts, ratings, categories, judge_groups or {})
    made += about
    findings = dataclasses.replace(
        findings, disordered=scale_tables.disordered_scales(scale, labels)
    )
    surprises = unexpected_responses(fit, *counts, categories=categories)
    made.append(judge_tables.unexpected_table(surprises, labels))
    if bias:
        left = unexpected_responses(fit, *counts, categories=categories, bias=bias)
        made.append(judge_tables.unexpected_table(left, labels, after_bias=True))
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
        tables=tuple(rename(table, names) for table in made),
        cells=rename(tables.cell_table(fit, diagnostics, labels), names),
        verdict=tuple(verdict(fit, diagnostics, labels, bias, findings, names)),
        bias=bias,
        shifts=raw,
        bootstrap=bootstrap,
    )


def _judges(
    fit: Fit,
    counts: tuple[jax.typing.ArrayLike, ...],
    ratings: Ratings | OrdinalRatings,
    categories: Sequence[float] | None,
    groups: Mapping[str, Sequence[int]],
) -> tuple[list[Table], Findings]:
    """Tables about judges and dimensions, and what the verdict says of them."""
    labels = ratings.labels
    effects = judge_effects(fit, *counts, categories=categories)
    made = [judge_tables.effects_table(effects, labels)]
    if 1 < len(labels["judge"]) <= MOST_COMPARED:
        several = {name: judges for name, judges in groups.items() if len(judges) > 1}
        agreed = agreement(fit, *counts, categories=categories, groups=several)
        made.append(judge_tables.agreement_table(agreed))
        made.append(judge_tables.agreement_pairs_table(agreed, labels))
    compared = compare_groups(fit, *counts, groups=groups)
    if compared:
        made.append(judge_tables.group_table(compared))
        made.append(judge_tables.construct_table(compared))
    drifts = None if ratings.order is None else drift(fit, ratings.order)
    if drifts is not None:
        made.append(judge_tables.drift_table(drifts, labels))
    dimensions = [
        dimensionality(fit, *counts, facet=facet)
        for facet in VARIABLES
        if 3 <= len(labels[facet]) <= MOST_VARIABLES
    ]
    if dimensions:
        made.append(scale_tables.dimension_table(dimensions))
        made.append(scale_tables.loading_table(dimensions, labels))
    return made, Findings(effects, drifts, compared, dimensions)


def summary(found: Report) -> list[str]:
    """Lines to read before the tables."""
    fit, trials, names = found.fit, np.asarray(found.ratings.trials), found.ratings.names
    sizes = ", ".join(
        f"{n} {word(facet, names)}{'' if n == 1 else 's'}"
        for facet, n in zip(FACETS, trials.shape, strict=True)
        if not names or facet in names
    )
    rated = np.count_nonzero(trials) / trials.size
    overall = found.diagnostics.overall
    lines = [
        f"{trials.sum():,} ratings: {sizes}; {rated:.0%} of all combinations rated",
        *(f"note: {note}" for note in found.ratings.notes),
        status(fit, found.ratings),
        *found.verdict,
        f"{int(fit.iterations)} iterations, log-likelihood {float(fit.log_likelihood):.2f}",
    ]
    if trials.shape[1] == 1 and fit.method != "ridge":
        return [*lines, *_without_occasions(found)]
    cells = np.asarray(fit.extreme.cell)
    extreme = np.isin(cells[cells != UNRATED], (ALL_SUCCESSES, ALL_FAILURES)).mean()
    kinds = "successes or only failures" if fit.step is None else "the highest or the lowest score"
    lines += [
        "precision of the priors: "
        + ", ".join(f"{name} {float(value):.3g}" for name, value in vars(fit.precision).items()),
        f"{extreme:.0%} of the answers have only {kinds}: their quality is set by its prior",
    ]
    if np.isfinite(overall.infit):
        lines.append(
            f"overall infit {float(overall.infit):.2f}, outfit {float(overall.outfit):.2f}: "
            "compare levels with these, not with 1, as every answer's quality was fitted to the "
            "same ratings"
        )
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


def _without_occasions(found: Report) -> list[str]:
    """Lines on a fit in which nothing is random, as a single question has no spread."""
    overall, names = found.diagnostics.overall, found.ratings.names
    facets = [word(facet, names) for facet in FACETS if facet in (names or FACETS)]
    fixed = [name for name in facets if name != word("question", names)]
    return [
        f"no occasions: {', '.join(fixed)} are all fixed effects (joint maximum likelihood)",
        f"overall infit {float(overall.infit):.2f}, outfit {float(overall.outfit):.2f}",
    ]


def status(fit: Fit, ratings: Ratings | OrdinalRatings) -> str:
    """How the fit ended, in the user's words for the facets; labels as they are."""
    named = {facet: word(facet, ratings.names) for facet in FACETS}
    return say(fit.sentence(), ratings.names) + fit.extremes(ratings.labels, named)
