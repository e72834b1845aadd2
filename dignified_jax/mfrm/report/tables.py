"""Results of every kind as tables with labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from jax.typing import ArrayLike

from dignified_jax.console.labels import clip
from dignified_jax.console.table import Table
from dignified_jax.mfrm.diagnostics.adjusted import ADJUSTMENT
from dignified_jax.mfrm.diagnostics.bootstrap import Bootstrap
from dignified_jax.mfrm.diagnostics.contrasts import Contrasts
from dignified_jax.mfrm.diagnostics.diagnose import Diagnostics, measures, shown_measures
from dignified_jax.mfrm.diagnostics.interactions import Interactions
from dignified_jax.mfrm.diagnostics.pairwise_bias import PairwiseBias
from dignified_jax.mfrm.diagnostics.sensitivity import JudgeSensitivity
from dignified_jax.mfrm.diagnostics.separation import Separation
from dignified_jax.mfrm.report.names import level_names
from dignified_jax.mfrm.result import FACETS, UNRATED, Fit, extreme_words
from dignified_jax.mfrm.solver.extremes import categories_in_use

SHOWN_NOTES = 12
# Columns of measure tables whose mean and standard deviation stand under them.
SUMMARISED = (
    "ratings",
    "score",
    "observed",
    "expected",
    "fair",
    "measure",
    "se",
    "infit",
    "outfit",
)

ADJUSTED = (
    "adjusted: the estimate is infinite; shown is the measure for a score of "
    f"{ADJUSTMENT} less (or more) than the extreme one"
)
Labels = Mapping[str, Sequence[object]]


def _ratio(total: ArrayLike, count: ArrayLike) -> np.ndarray:
    """Totals by count, NaN where there are none."""
    total, count = np.asarray(total, float), np.asarray(count, float)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _numbers(values: ArrayLike) -> list[float]:
    """Python numbers of the shortest form that reads back as the same value."""
    values = np.asarray(values)
    if values.dtype == np.float32:
        return [float(str(value)) for value in values]
    return values.tolist()


def _whole(values: ArrayLike) -> list[int]:
    return np.asarray(values).astype(int).tolist()


def _sums(values: ArrayLike) -> list[int] | list[float]:
    """Sums of scores: whole, unless there are half points."""
    values = np.asarray(values)
    return _whole(values) if (values == np.round(values)).all() else _numbers(values)


def _labels(labels: Labels, facet: str) -> list[object]:
    return level_names(labels[facet])


def _extreme(codes: ArrayLike, ordinal: bool) -> list[str]:
    words = extreme_words(ordinal) | {UNRATED: "unrated"}
    return [words.get(int(code), "") for code in np.asarray(codes)]


def measure_table(fit: Fit, diagnostics: Diagnostics, labels: Labels, facet: str) -> Table:
    """A level a row: what was observed, its measure and how well the ratings bear it out.

    Measures of extreme levels are adjusted to be finite, and marked.
    """
    about = getattr(diagnostics, facet)
    statistics = about.statistics
    measure, error = shown_measures(fit, diagnostics)[facet]
    columns = {
        facet: _labels(labels, facet),
        "ratings": _whole(statistics.count),
        "score": _sums(statistics.score),
        "observed": _numbers(_ratio(statistics.score, statistics.count)),
        "expected": _numbers(_ratio(statistics.expected_score, statistics.count)),
        "fair": _numbers(about.fair_average),
        "measure": _numbers(measure),
        "se": _numbers(error),
        "infit": _numbers(statistics.infit),
        "infit_z": _numbers(statistics.infit_zstd),
        "outfit": _numbers(statistics.outfit),
        "outfit_z": _numbers(statistics.outfit_zstd),
        "correlation": _numbers(statistics.correlation),
        "expected_correlation": _numbers(statistics.expected_correlation),
    }
    if np.isfinite(about.displacement).any():
        columns["displacement"] = _numbers(about.displacement)
    extreme = _extreme(getattr(fit.extreme, facet), fit.step is not None)
    notes: tuple[str, ...] = ()
    if any(extreme):
        own = np.asarray(measures(fit)[facet][0])
        changed = np.isinf(own) & np.isfinite(measure)
        columns["extreme"] = [
            f"{text}, adjusted" if moved else text
            for text, moved in zip(extreme, changed, strict=True)
        ]
        notes = (ADJUSTED,) if changed.any() else ()
    kind = {"model": "score", "judge": "severity"}.get(facet, "difficulty")
    title = f"{facet}: measure is the {kind} in logits"
    return Table(facet, title, columns, summarised=SUMMARISED, notes=notes)


def cell_table(fit: Fit, diagnostics: Diagnostics, labels: Labels) -> Table:
    """A model's answer to a question a row: its quality."""
    statistics = diagnostics.cell
    models, questions = (_labels(labels, facet) for facet in ("model", "question"))
    columns = {
        "model": [model for model in models for _ in questions],
        "question": questions * len(models),
    }
    numbers = {
        "ratings": statistics.count.astype(int),
        "score": np.asarray(_sums(statistics.score)),
        "expected": _ratio(statistics.expected_score, statistics.count),
        "quality": fit.quality,
        "se": fit.standard_error.quality,
        "infit": statistics.infit,
        "outfit": statistics.outfit,
    }
    columns |= {name: _numbers(np.ravel(values)) for name, values in numbers.items()}
    columns["extreme"] = _extreme(np.ravel(fit.extreme.cell), fit.step is not None)
    return Table("cells", "cells: quality of each answer, in logits at a mean question", columns)


def separation_table(diagnostics: Diagnostics) -> Table:
    """A facet of several levels a row: whether they can be told apart."""
    facets = [f for f in FACETS if getattr(diagnostics, f).fair_average.size > 1]
    return separations_table({facet: getattr(diagnostics, facet).separation for facet in facets})


def separations_table(rows: Mapping[str, Separation]) -> Table:
    """A facet a row, of facets by name."""

    def column(name: str) -> list[float]:
        return [float(str(np.asarray(getattr(row, name)))) for row in rows.values()]

    columns = {
        "facet": list(rows),
        "levels": _whole([row.levels for row in rows.values()]),
        "sd": column("deviation"),
        "adj_sd": column("true_deviation"),
        "rmse": column("rmse"),
        "separation": column("separation"),
        "strata": column("strata"),
        "reliability": column("reliability"),
        "chi_square": column("chi_square"),
        "df": _whole([max(row.degrees_of_freedom, 0) for row in rows.values()]),
        "p": column("p"),
    }
    return Table("facets", "facets: p is of the hypothesis that all levels are the same", columns)


def step_table(fit: Fit, labels: Labels, categories: Sequence[int]) -> Table:
    """Thresholds of an ordinal fit, a step a row: common to all rubric items, or each item's.

    Scores that were never given are closed up: a step leads from the next score in use.
    """
    steps, errors = np.asarray(fit.step), np.asarray(fit.standard_error.step)
    used = np.asarray(categories_in_use(fit.step))
    sets = _labels(labels, "rubric") if len(steps) > 1 else ["all"]
    places = [
        (row, below, k)
        for row in range(len(steps))
        for below, k in itertools.pairwise(np.flatnonzero(used[row]).tolist())
    ]
    columns = {
        "rubric": [sets[row] for row, _, _ in places],
        "from": [categories[below] for _, below, _ in places],
        "to": [categories[k] for _, _, k in places],
        "step": _numbers(np.array([steps[row, k - 1] for row, _, k in places], steps.dtype)),
        "se": _numbers(np.array([errors[row, k - 1] for row, _, k in places], errors.dtype)),
    }
    columns["flag"] = [
        "disordered"
        if before and before[0] == row and steps[row, k - 1] < steps[row, below - 1]
        else ""
        for before, (row, below, k) in zip([None, *places[:-1]], places, strict=True)
    ]
    notes = []
    for row in np.flatnonzero(~used.all(axis=1)).tolist():
        never = ", ".join(str(categories[k]) for k in np.flatnonzero(~used[row]))
        where = "" if sets == ["all"] else f" on {clip(sets[row])}"
        notes.append(f"never given{where} (by models of finite score): {never}; closed up")
    title = "steps: where adjacent scores are equally likely, in logits"
    return Table("steps", title, columns, notes=tuple(notes[:SHOWN_NOTES]))


def bias_table(
    found: Interactions, labels: Labels, facets: tuple[str, str], ordinal: bool = False
) -> Table:
    """A rated pair a row, the most significant first: who departs from the sum of the parts."""
    rows, columns = np.nonzero(np.asarray(found.count) > 0)
    order = np.argsort(-np.abs(np.asarray(found.z)[rows, columns]), kind="stable")  # NaN last
    rows, columns = rows[order], columns[order]

    def pick(values: ArrayLike) -> np.ndarray:
        return np.asarray(values)[rows, columns]

    names = [_labels(labels, facet) for facet in facets]
    return Table(
        f"bias_{facets[0]}_{facets[1]}",
        f"bias of {facets[0]} by {facets[1]}: logits above (+) or below (-) what is expected",
        {
            facets[0]: [names[0][row] for row in rows],
            facets[1]: [names[1][column] for column in columns],
            "ratings": _whole(pick(found.count)),
            **{
                {"standard_error": "se"}.get(name, name): _numbers(pick(getattr(found, name)))
                for name in ("observed", "expected", "bias", "standard_error", "t", "z", "p", "q")
            },
            "extreme": _extreme(pick(found.extreme), ordinal),
        },
    )


def pairwise_bias_table(found: PairwiseBias, labels: Labels, facets: tuple[str, str]) -> Table:
    """A contrast of two contexts a row: do they treat the target differently?"""
    context, target = facets
    names = {facet: _labels(labels, facet) for facet in facets}
    columns: dict[str, list[object]] = {
        target: [names[target][i] for i in found.target],
        context: [names[context][i] for i in found.first],
        "other": [names[context][i] for i in found.second],
        "contrast": found.contrast.tolist(),
        "joint_se": found.standard_error.tolist(),
        "t": found.t.tolist(),
        "df": _whole(found.degrees_of_freedom),
        "p": found.p.tolist(),
        "q": found.q.tolist(),
    }
    listed = found.t.size
    notes = (f"the {listed:,} surest of {found.total:,} contrasts",) if listed < found.total else ()
    return Table(
        f"bias_pairs_{context}_{target}",
        f"bias, pairwise: logits by which the first {context} favours the {target} over what the "
        "other does",
        columns,
        notes=notes,
    )


def contrast_table(found: Contrasts, labels: Labels) -> Table:
    """A pair of models a row, in the order of certainty."""
    order = np.argsort(-np.abs(found.z), kind="stable")
    columns: dict[str, list[object]] = {
        "model": [labels["model"][i] for i in found.first[order]],
        "other": [labels["model"][i] for i in found.second[order]],
    }
    names = {"difference": "difference", "se": "standard_error", "z": "z", "p": "p", "q": "q"}
    columns |= {name: getattr(found, field)[order].tolist() for name, field in names.items()}
    columns["p_holm"] = found.holm[order].tolist()
    return Table(
        "contrasts",
        "contrasts of models: score of the first less that of the other, in logits",
        columns,
    )


def bootstrap_table(fit: Fit, found: Bootstrap, labels: Labels) -> Table:
    """A model a row: its errors with questions fixed, and drawn anew."""
    return Table(
        "bootstrap",
        f"scores, {len(found.score)} samples of the questions: {found.level:.0%} percentile "
        "intervals; se_fixed treats the questions as fixed",
        {
            "model": _labels(labels, "model"),
            "measure": _numbers(fit.score),
            "se_fixed": _numbers(fit.standard_error.score),
            "se": _numbers(found.standard_error),
            "lower": _numbers(found.lower),
            "upper": _numbers(found.upper),
        },
    )


def sensitivity_table(found: JudgeSensitivity, labels: Labels) -> Table:
    """A judge a row: what happens without it."""
    largest = np.abs(found.score_change - found.score_shift)
    # What gauge does not explain; compared where both are known.
    beyond = [float(row[np.isfinite(row)].max(initial=0.0)) for row in largest]
    known = np.isfinite(found.score_without).any(axis=1)
    return Table(
        "judges_left_out",
        "each judge left out: shift_others is the change of gauge when it joins, beyond_gauge the "
        "largest other change of a score, tau and rho compare the models' ranking",
        {
            "judge": _labels(labels, "judge"),
            "severity": _numbers(found.severity),
            "shift_others": _numbers(found.gauge_shift),
            "beyond_gauge": [
                value if ok else math.nan for value, ok in zip(beyond, known, strict=True)
            ],
            "tau": _numbers(found.kendall),
            "rho": _numbers(found.spearman),
            "tau_by_question": _numbers(found.kendall_by_question),
            "refit": [_in_short(message) for message in found.message],
        },
        notes=tuple(
            f"{_in_short(message)}: {message.splitlines()[0][:300]}"
            for message in dict.fromkeys(found.message)
            if _in_short(message) not in ("converged", "extreme levels")
        )[:SHOWN_NOTES],
    )


def _in_short(message: str) -> str:
    """A word or two for how a refit ended."""
    kinds = {
        "converged, but a": "extreme levels",
        "converged": "converged",
        "stopped": "not converged",
        "the design": "disconnected",
        "no ratings": "empty levels",
        "the information": "singular",
        "nothing is left": "no score",
    }
    return next((word for start, word in kinds.items() if message.startswith(start)), "refused")
