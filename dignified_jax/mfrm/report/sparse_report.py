"""Tables and figures of a sparse fit: every facet, however many, bias of pairs, contrasts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dignified_jax.console.table import Table
from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.diagnostics.contrasts import contrasts
from dignified_jax.mfrm.diagnostics.interactions import Interactions
from dignified_jax.mfrm.diagnostics.separation import independent_chi_square, separation
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.report import judge_tables, scale_tables, tables
from dignified_jax.mfrm.report.facet_names import file_name, rename, say, word
from dignified_jax.mfrm.result import FACETS, Fit, extreme_words
from dignified_jax.mfrm.sparse.bias import sparse_interactions, sparse_unexpected
from dignified_jax.mfrm.sparse.fit import facet_extremes, facet_levels
from dignified_jax.mfrm.sparse.statistics import (
    LevelStatistics,
    level_statistics,
    sparse_category_statistics,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# More models than this have no table of their pairs.
MOST_COMPARED = 60
# Share of the prior's variance that is left where ratings tell nothing.
CONFOUNDED = 0.98
Bias = dict[tuple[str, str], Interactions]


def sparse_bias(fit: Fit, ratings: SparseRatings, pairs: Sequence[tuple[str, str]]) -> Bias:
    """Pair of facets -> its interactions; pairs with a facet of a single level are left out."""
    return {
        pair: sparse_interactions(fit, ratings, facets=pair)
        for pair in pairs
        if min(len(ratings.labels[name]) for name in pair) > 1
    }


def sparse_tables(fit: Fit, ratings: SparseRatings, bias: Bias) -> list[Table]:
    """A table for each facet of more than one level, their separation, categories and steps, bias,
    contrasts of models and unexpected ratings."""
    found = level_statistics(fit, ratings)
    several = {name: about for name, about in found.items() if about.measure.size > 1}
    made = [
        rename(_measures(fit, name, about, ratings), ratings.names)
        for name, about in several.items()
    ]
    rows = {}
    for name, about in several.items():
        with xp.on_host(True):
            pair = about.measure, about.standard_error
            chi_square = independent_chi_square(*pair, zero_sum=name != "model")
            rows[name] = separation(*pair, chi_square)
    more = [tables.separations_table(rows)]
    labels, categories = ratings.labels, ratings.categories
    of_scale = sparse_category_statistics(fit, ratings)
    more.append(scale_tables.category_table(of_scale, labels, categories))
    if categories is not None:
        more.append(tables.step_table(fit, labels, categories))
    more += [
        tables.bias_table(about, labels, pair, categories is not None)
        for pair, about in bias.items()
    ]
    if 1 < len(ratings.labels["model"]) <= MOST_COMPARED:
        more.append(tables.contrast_table(contrasts(fit), ratings.labels))
    more.append(_unexpected(fit, ratings))
    return [*made, *(rename(table, ratings.names) for table in more)]


def sparse_figures(
    fit: Fit, ratings: SparseRatings, bias: Bias
) -> Iterator[tuple[str, str, Figure]]:
    """Name, title and figure of all there is to draw."""
    from dignified_jax.mfrm.report import scale_plots, wright

    names, categories = ratings.names, ratings.categories
    headings = names
    if ratings.extra:
        headings = names | {"rubric": " and ".join([word("rubric", names), *ratings.extra])}
    map_of_all = wright.draw_wright_map(
        fit, _all_labels(ratings), categories=categories, names=headings
    )
    yield "wright_map", "Wright map", map_of_all
    if categories is not None:
        curves = scale_plots.draw_category_plot(fit, ratings.labels, categories)
        yield "category_curves", "Category probabilities and information", curves
    for pair, about in bias.items():
        title = f"Bias of {say(' by '.join(pair), names)}"
        figure = scale_plots.draw_bias_plot(about, ratings.labels, pair)
        yield file_name(f"bias_{'_'.join(pair)}", names), title, figure


def _all_labels(ratings: SparseRatings) -> dict[str, tuple[object, ...]]:
    """Labels as levels stand in `Fit.rubric`: those of further facets after the rubric items'."""
    items = [*ratings.labels["rubric"]] if ratings.labels["rubric"] != (None,) else [""]
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


def sparse_summary(fit: Fit, ratings: SparseRatings) -> list[str]:
    """Lines to read before the tables."""
    sizes = ", ".join(
        f"{len(labels)} {word(name, ratings.names)}{'' if len(labels) == 1 else 's'}"
        for name, labels in ratings.labels.items()
        if labels != (None,)
    )
    named = {facet: word(facet, ratings.names) for facet in FACETS}
    # A list has no other center.
    cure = "use center='grand', which shrinks all scores, or add"
    status = say(fit.sentence().replace(cure, "add"), ratings.names)
    status += fit.extremes(_all_labels(ratings), named)
    held = ["judge", "rubric"]
    if len(ratings.labels["question"]) > 1:
        held = ["theta", "question", *held]
    return [
        f"{int(ratings.trials.sum()):,} ratings: {sizes}",
        *(f"note: {note}" for note in ratings.notes),
        status,
        "a list of ratings, fitted by the ridge method: the priors' precisions are given, not "
        "estimated",
        f"{int(fit.iterations)} iterations, log-likelihood {float(fit.log_likelihood):.2f}",
        "precision of the priors: "
        + ", ".join(f"{name} {float(getattr(fit.precision, name)):.3g}" for name in held),
        *_confounded(fit, ratings),
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
        f"{name}: the ratings tell nothing of it (its errors are those of its prior). Each of its "
        "levels may stand with levels of another facet that no other one meets"
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
    words = extreme_words(fit.step is not None)
    extreme = [words.get(int(code), "") for code in facet_extremes(fit, ratings)[name]]
    if any(extreme):
        columns["extreme"] = extreme
    kind = {"model": "score", "judge": "severity"}.get(name, "difficulty")
    title = f"{name}: measure is the {kind} in logits"
    return Table(name, title, columns, summarised=tables.SUMMARISED)
