"""Everything there is to say about a sparse fit, as tables and sentences; `report` for lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from dignified_jax.console.table import Table
from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.diagnostics.category_statistics import CategoryStatistics
from dignified_jax.mfrm.diagnostics.contrasts import contrasts
from dignified_jax.mfrm.diagnostics.interactions import Interactions
from dignified_jax.mfrm.diagnostics.pairwise_bias import pairwise_bias
from dignified_jax.mfrm.diagnostics.separation import (
    Separation,
    independent_chi_square,
    separation,
)
from dignified_jax.mfrm.diagnostics.shifts import Shifts
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.report import judge_tables, scale_tables, tables
from dignified_jax.mfrm.report import verdict as sentences
from dignified_jax.mfrm.report.facet_names import rename, say, word
from dignified_jax.mfrm.result import (
    ALL_FAILURES,
    ALL_SUCCESSES,
    FACETS,
    Fit,
    extreme_words,
    level_name,
)
from dignified_jax.mfrm.sparse.agreement import sparse_agreement
from dignified_jax.mfrm.sparse.bias import sparse_interactions, sparse_unexpected
from dignified_jax.mfrm.sparse.fit import facet_extremes, facet_levels
from dignified_jax.mfrm.sparse.shifts import adjusted_scores, sparse_shifts
from dignified_jax.mfrm.sparse.statistics import (
    LevelStatistics,
    level_statistics,
    overall_mean_squares,
    sparse_category_statistics,
    sparse_residual_summary,
)

# More models than this have no table of their pairs.
MOST_COMPARED = 60
# Share of the prior's variance that is left where ratings tell nothing.
CONFOUNDED = 0.98
LACKING = (
    "not made of lists, as they need arrays of all combinations: judge effects (halo), drift, "
    "dimensionality, what groups of judges measure, a table of answers, the bootstrap, leaving "
    "judges out"
)


@dataclasses.dataclass(frozen=True)
class SparseReport:
    """A sparse fit with what was made of it.

    Attributes:
      fit: the estimates.
      ratings: what it was fitted to.
      statistics: facet, or name of a further one -> of its levels, the models' adjusted.
      infit: mean square of all entries.
      outfit: likewise, unweighted.
      bias: pair of facets -> its interactions.
      shifts: from raw means to scores.
      tables: to print, in this order.
      verdict: sentences on who is harsh, who misfits, which pairs are biased.
    """

    fit: Fit
    ratings: SparseRatings
    statistics: dict[str, LevelStatistics]
    infit: float
    outfit: float
    bias: dict[tuple[str, str], Interactions]
    shifts: Shifts
    tables: tuple[Table, ...]
    verdict: tuple[str, ...]


def sparse_report(
    fit: Fit,
    ratings: SparseRatings,
    *,
    pairs: Sequence[tuple[str, str]] = (("judge", "model"),),
    judge_groups: Mapping[str, Sequence[int]] | None = None,
) -> SparseReport:
    """The tables of a sparse fit; pairs with a facet of a single level are left out.

    `judge_groups` (name -> judges by number) have agreements of their own.
    """
    labels, categories = ratings.labels, ratings.categories
    found = level_statistics(fit, ratings)
    score, error = adjusted_scores(fit, ratings)
    found["model"] = dataclasses.replace(found["model"], measure=score, standard_error=error)
    several = {name: about for name, about in found.items() if about.measure.size > 1}
    apart = {name: _separation(fit, name, about) for name, about in several.items()}
    bias = {
        pair: sparse_interactions(fit, ratings, facets=pair)
        for pair in pairs
        if min(len(labels[name]) for name in pair) > 1
    }
    scale, raw = sparse_category_statistics(fit, ratings), sparse_shifts(fit, ratings)
    made = [
        tables.separations_table(apart),
        scale_tables.residual_table(sparse_residual_summary(fit, ratings)),
        scale_tables.shift_table(raw, labels),
        scale_tables.category_table(scale, labels, categories),
    ]
    if categories is not None:
        made.append(tables.step_table(fit, labels, categories))
    made += [
        tables.bias_table(about, labels, pair, categories is not None)
        for pair, about in bias.items()
    ]
    made += [
        tables.pairwise_bias_table(pairwise_bias(about), labels, pair)
        for pair, about in bias.items()
        if len(labels[pair[0]]) <= MOST_COMPARED
    ]
    if len(labels["judge"]) > 1:
        members = {n: judges for n, judges in (judge_groups or {}).items() if len(judges) > 1}
        agreed = sparse_agreement(fit, ratings, groups=members)
        made.append(judge_tables.agreement_table(agreed))
        if agreed.common.size:
            made.append(judge_tables.agreement_pairs_table(agreed, labels))
    made.append(_unexpected(fit, ratings))
    if 1 < len(labels["model"]) <= MOST_COMPARED:
        made.append(tables.contrast_table(contrasts(fit), labels))
    measures = [_measures(fit, name, about, ratings) for name, about in several.items()]
    infit, outfit = overall_mean_squares(fit, ratings)
    return SparseReport(
        fit=fit,
        ratings=ratings,
        statistics=found,
        infit=infit,
        outfit=outfit,
        bias=bias,
        shifts=raw,
        tables=tuple(rename(table, ratings.names) for table in (*measures, *made)),
        verdict=tuple(_verdict(fit, ratings, found, apart, infit, bias, scale)),
    )


def _separation(fit: Fit, name: str, about: LevelStatistics) -> Separation:
    measure, error = about.measure, about.standard_error
    if name == "model":  # those without a finite score are not told apart by their adjustment
        measure = np.where(np.isinf(np.asarray(fit.score)), np.nan, measure)
    with xp.on_host(True):
        chi_square = independent_chi_square(measure, error, zero_sum=name != "model")
        return separation(measure, error, chi_square)


def _verdict(
    fit: Fit,
    ratings: SparseRatings,
    found: Mapping[str, LevelStatistics],
    apart: Mapping[str, Separation],
    infit: float,
    bias: Mapping[tuple[str, str], Interactions],
    scale: CategoryStatistics,
) -> list[str]:
    """Sentences as those of `verdict`, as far as a list has what they are about."""
    labels, names, judge = ratings.labels, ratings.names, found["judge"]
    codes = facet_extremes(fit, ratings)
    told = [sentences.separation_sentence(apart["model"], names)] if "model" in apart else []
    if judge.measure.size > 1 and not np.isfinite(judge.standard_error).any():
        told.append(
            f"{word('judge', names)}s: too many for standard errors, so none is called harsh or "
            "mild; see their measures"
        )
    else:
        known = np.zeros(judge.measure.size, bool)
        pair = judge.measure, judge.standard_error
        told += sentences.severity_sentences(*pair, known, labels["judge"], names)
    fitting = {
        name: sentences.Fitting(
            found[name].infit,
            found[name].infit_zstd,
            found[name].count,
            np.isin(codes[name], (ALL_SUCCESSES, ALL_FAILURES)),
        )
        for name in ("judge", "rubric", *ratings.extra, "model")
    }
    told += sentences.misfit_sentences(fitting, infit, labels, names)
    told += [sentences.bias_sentence(one, labels, pair, names) for pair, one in bias.items()]
    return told + sentences.disorder_sentences(scale_tables.disordered_scales(scale, labels))


def all_labels(ratings: SparseRatings) -> dict[str, tuple[object, ...]]:
    """Labels as levels stand in `Fit.rubric`: those of further facets after the rubric items'."""
    items = [level_name(label) for label in ratings.labels["rubric"]]
    for name in ratings.extra:
        items += [f"{name}: {label}" for label in ratings.labels[name]]
    return ratings.labels | {"rubric": tuple(items)}


def _unexpected(fit: Fit, ratings: SparseRatings) -> Table:
    """An entry a row, with its levels of further facets."""
    found, places = sparse_unexpected(fit, ratings)
    table = judge_tables.unexpected_table(found, ratings.labels)
    further = {
        name: [ratings.labels[name][level] for level in levels[places]]
        for name, levels in ratings.extra.items()
    }
    columns = {facet: table.columns[facet] for facet in FACETS} | further
    return dataclasses.replace(table, columns=columns | table.columns)


def sparse_summary(report: SparseReport) -> list[str]:
    """Lines to read before the tables."""
    fit, ratings = report.fit, report.ratings
    sizes = ", ".join(
        f"{len(labels)} {word(name, ratings.names)}{'' if len(labels) == 1 else 's'}"
        for name, labels in ratings.labels.items()
        if labels != (None,)
    )
    named = {facet: word(facet, ratings.names) for facet in FACETS}
    status = say(fit.sentence(), ratings.names) + fit.extremes(all_labels(ratings), named)
    held = ["judge", "rubric"]
    if len(ratings.labels["question"]) > 1:
        held = ["theta", "question", *held]
    return [
        f"{int(ratings.trials.sum()):,} ratings: {sizes}",
        *(f"note: {note}" for note in ratings.notes),
        status,
        *report.verdict,
        "a list of ratings, fitted by the ridge method: the priors' precisions are given, not "
        "estimated",
        f"{int(fit.iterations)} iterations, log-likelihood {float(fit.log_likelihood):.2f}",
        "precision of the priors: "
        + ", ".join(f"{name} {float(getattr(fit.precision, name)):.3g}" for name in held),
        *_confounded(fit, ratings),
        f"overall infit {report.infit:.2f}, outfit {report.outfit:.2f}: compare levels with these",
        say(LACKING, ratings.names),
    ]


def _confounded(fit: Fit, ratings: SparseRatings) -> list[str]:
    """Facets of which the ratings tell nothing, as those whose levels are nested in another's."""
    unknown = []
    for name, (_, error) in facet_levels(fit, ratings).items():
        precision = getattr(fit.precision, name if name in FACETS else "rubric", None)
        size = len(error)
        if precision is None or size < 2:
            continue
        # Levels that sum to zero have this variance without ratings.
        prior = (1.0 - 1.0 / size) / float(precision)
        if (np.asarray(error, float) ** 2 > CONFOUNDED * prior).all():
            unknown.append(word(name, ratings.names))
    return [
        f"{name}: the ratings tell nothing of it (its errors are those of its prior): its levels "
        "are nested in another facet's, or have one score each"
        for name in unknown
    ]


def _measures(fit: Fit, name: str, about: LevelStatistics, ratings: SparseRatings) -> Table:
    """A level a row."""
    whole = (about.score == np.round(about.score)).all()
    columns: dict[str, list[object]] = {
        name: list(ratings.labels[name]),
        "ratings": about.count.astype(int).tolist(),
        "score": (about.score.astype(int) if whole else about.score).tolist(),
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
    columns["correlation"] = about.correlation.tolist()
    columns["expected_correlation"] = about.expected_correlation.tolist()
    words = extreme_words(fit.step is not None)
    extreme = [words.get(int(code), "") for code in facet_extremes(fit, ratings)[name]]
    notes: tuple[str, ...] = ()
    if any(extreme):
        own = np.asarray(fit.score) if name == "model" else about.measure
        moved = np.isinf(own) & np.isfinite(about.measure)
        columns["extreme"] = [
            f"{text}, adjusted" if changed else text
            for text, changed in zip(extreme, moved, strict=True)
        ]
        notes = (tables.ADJUSTED,) if moved.any() else ()
    kind = {"model": "score", "judge": "severity"}.get(name, "difficulty")
    title = f"{name}: measure is the {kind} in logits"
    return Table(name, title, columns, summarised=tables.SUMMARISED, notes=notes)
