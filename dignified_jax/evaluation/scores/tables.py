"""Scores as tables, in the form of the paper's, every number with its standard error and n."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from dignified_jax import mfrm
from dignified_jax.console.table import Table
from dignified_jax.evaluation.scores.calibration import Calibration
from dignified_jax.evaluation.scores.misfit import misfit_table, unexpected_table
from dignified_jax.evaluation.scores.results import (
    MEASURES,
    Scores,
    correlations,
    delta,
    model_correlations,
)
from dignified_jax.evaluation.scores.unavailable import unavailable_table
from dignified_jax.mfrm.diagnostics.sensitivity import kendall, spearman

MEASURE_TITLES = {"raw": "Raw Prob.", "z": "Z-score", "mfrm": "MFRM"}

Columns = dict[str, list[object]]


def group_table(scores: Scores) -> Table:
    """Each group by raw probability, z-score and MFRM (the form of the paper's Table 2)."""
    names = list(scores.groups) or list(scores.dimensions)
    columns: Columns = {"model": list(scores.models)}
    for kind in MEASURES:
        for name in names:
            measure = scores.measures[name][kind]
            label = f"{MEASURE_TITLES[kind]} {name}"
            columns |= {label: _floats(measure.value), f"{label} se": _floats(measure.error)}
    columns["n"] = [int(n) for n in scores.measures[names[0]]["raw"].n]
    return Table(
        name="groups",
        title="scores by raw probability, z-score and MFRM (logits)",
        columns=columns,
        notes=(
            "se: standard error over samples of questions; n: responses rated.",
            "Differences between models compare; levels of different dimensions do not.",
        ),
    )


def friedman_table(scores: Scores) -> Table:
    """Friedman tests of every dimension and group, for each measure."""
    columns: Columns = {k: [] for k in ("of", "measure", "chi-square", "df", "p", "n")}
    for name, kinds in scores.measures.items():
        for kind in MEASURES:
            test = kinds[kind].test
            row = (name, MEASURE_TITLES[kind], test.statistic, test.degrees, test.p, test.questions)
            _append(columns, row)
    return Table(
        name="friedman",
        title="Friedman tests: do models differ in rank, question by question?",
        columns=columns,
        notes=(
            "MFRM qualities lean to their model's mean, which this test takes for consistency: "
            "its p is too small.",
        ),
    )


def dimension_table(scores: Scores) -> Table:
    """MFRM scores of every dimension (the form of the paper's Table 4)."""
    columns: Columns = {"model": list(scores.models)}
    for name in (*scores.dimensions, *scores.groups):
        measure = scores.measures[name]["mfrm"]
        columns |= {name: _floats(measure.value), f"{name} se": _floats(measure.error)}
    columns["n"] = [int(n) for n in scores.measures[scores.dimensions[0]]["mfrm"].n]
    return Table(name="dimensions", title="MFRM scores, in logits", columns=columns)


def delta_table(scores: Scores, before: str) -> Table:
    """Changes of every other model from one (the form of the paper's Table 7).

    Raises:
      ValueError: no such model.
    """
    if before not in scores.models:
        raise ValueError(f"baseline: expected one of {', '.join(scores.models)}, found {before!r}")
    base = scores.models.index(before)
    columns: Columns = {k: [] for k in ("model", "of", "change", "se", "p", "n")}
    for place, model in enumerate(scores.models):
        if place == base:
            continue
        for name in (*scores.dimensions, *scores.groups):
            found = delta(scores, name, base, place)
            _append(columns, (model, name, found.change, found.error, found.p, found.n))
    title = f"change from {before}, in logits (paired over questions)"
    return Table(name="changes", title=title, columns=columns)


def rank_table(scores: Scores) -> Table:
    """Rank correlations of the models by the three measures."""
    columns: Columns = {k: [] for k in ("of", "one", "other", "kendall", "spearman", "n")}
    for name, kinds in scores.measures.items():
        for one, other in (("raw", "mfrm"), ("z", "mfrm"), ("raw", "z")):
            first, second = kinds[one].value, kinds[other].value
            n = int((~np.isnan(first) & ~np.isnan(second)).sum())
            labels = (MEASURE_TITLES[one], MEASURE_TITLES[other])
            _append(columns, (name, *labels, kendall(first, second), spearman(first, second), n))
    return Table(
        name="ranks", title="rank correlations of models between measures", columns=columns
    )


def severity_table(scores: Scores, facet: str) -> Table:
    """Judges' severities, or items' difficulties, of every dimension."""
    first = {"judge": "judge", "rubric": "item"}[facet]
    columns: Columns = {k: [] for k in (first, "of", "measure", "se", "observed", "n")}
    axes = {"judge": (0, 1, 3), "rubric": (0, 1, 2)}[facet]
    for name, found in scores.calibrations.dimensions.items():
        if len(found.labels[facet]) < 2:  # relative to none, it is 0 whatever the ratings
            continue
        measure = np.asarray(getattr(found.fit, facet))
        error = np.asarray(getattr(found.fit.standard_error, facet))
        count = found.trials.sum(axis=axes)
        share = found.successes.sum(axis=axes) / count
        for place, label in enumerate(found.labels[facet]):
            values = (measure[place], error[place], share[place])
            _append(columns, (str(label), name, *map(float, values), int(count[place])))
    kind = {"judge": "severities of judges", "rubric": "difficulties of rubric items"}[facet]
    return Table(
        name={"judge": "severities", "rubric": "difficulties"}[facet],
        title=f"{kind}, in logits; observed is the share of 1s, n the judgments",
        columns=columns,
    )


def preference_table(scores: Scores) -> Table:
    """Bias of every judge for every model; "own" where the judge is the model."""
    keys = ("judge", "model", "of", "own", "bias", "se", "p", "q", "n")
    columns: Columns = {key: [] for key in keys}
    for name, found in scores.calibrations.dimensions.items():
        judges, models = found.labels["judge"], found.labels["model"]
        if min(len(judges), len(models)) < 2:
            continue
        bias = mfrm.interactions(found.fit, found.successes, found.trials)
        keys = ("bias", "standard_error", "p", "q", "count")
        values = np.stack([np.asarray(getattr(bias, key), float) for key in keys], axis=-1)
        for j, judge in enumerate(judges):
            for m, model in enumerate(models):
                own = "own" if str(judge) == str(model) else ""
                *figures, count = values[j, m].tolist()
                _append(columns, (str(judge), str(model), name, own, *figures, int(count)))
    return Table(
        name="preference",
        title="bias of judges for models: logits above (+) or below (-) what is expected",
        columns=columns,
        notes=("q: false discovery rate within the dimension.",),
    )


def sensitivity_table(scores: Scores) -> Table:
    """Each judge left out in turn (the form of the paper's Table 8, and its Eq. 16 and 17)."""
    keys = ("judge left out", "of", "severity", "shift", "kendall", "spearman", "by response", "n")
    columns: Columns = {key: [] for key in keys}
    for name, found in scores.calibrations.dimensions.items():
        away = found.sensitivity
        if away is None:
            continue
        for place, judge in enumerate(found.labels["judge"]):
            shift = np.abs(away.score_shift[place])
            shift = shift[np.isfinite(shift)]
            values = (
                away.severity[place],
                shift.max() if shift.size else math.nan,
                away.kendall[place],
                away.spearman[place],
                away.kendall_by_question[place],
            )
            n = int(found.trials[:, :, place].sum())
            _append(columns, (str(judge), name, *map(float, values), n))
    return Table(
        name="sensitivity",
        title="what a judge's absence changes",
        columns=columns,
        notes=(
            "severity: on the scale of the others; shift: largest move of a score by the change "
            "of gauge alone; kendall, spearman: of the models' ranks with and without the judge; "
            "by response: mean over questions; n: the judge's judgments.",
        ),
    )


def correlation_table(scores: Scores) -> Table:
    """Correlations between dimensions, over responses and over models."""
    over, error, n = correlations(scores)
    models, count = model_correlations(scores)
    keys = ("one", "other", "over responses", "se", "n", "over models", "n models")
    columns: Columns = {key: [] for key in keys}
    for i, one in enumerate(scores.dimensions):
        for j in range(i + 1, len(scores.dimensions)):
            other = scores.dimensions[j]
            values = (float(over[i, j]), float(error[i, j]), n, float(models[i, j]), count)
            _append(columns, (one, other, *values))
    return Table(
        name="correlations", title="correlations between dimensions (Pearson)", columns=columns
    )


def all_tables(scores: Scores, baseline: str) -> dict[str, Table]:
    """Returns name -> table; those without rows, or of models where there is one, are left out."""
    several = len(scores.models) > 1
    made = [
        group_table(scores),
        *([friedman_table(scores)] if several and len(scores.calibrations.questions) > 1 else []),
        dimension_table(scores),
        *([delta_table(scores, baseline), rank_table(scores)] if several else []),
        unavailable_table(scores),
        severity_table(scores, "judge"),
        severity_table(scores, "rubric"),
        misfit_table(scores),
        unexpected_table(scores),
        preference_table(scores),
        sensitivity_table(scores),
        correlation_table(scores),
    ]
    return {table.name: table for table in made if table.rows}


def shift_table(found: Calibration) -> Mapping[str, np.ndarray]:
    """Raw and calibrated measures of each facet, in logits: facet -> (level, 2)."""
    shifts = {}
    for facet, axes, sign in (
        *(("model", (1, 2, 3), 1.0), ("judge", (0, 1, 3), -1.0)),
        *(("rubric", (0, 1, 2), -1.0), ("question", (0, 2, 3), -1.0)),
    ):
        n = found.trials.sum(axis=axes)
        # Half a success and failure more: extremes stay finite.
        share = (found.successes.sum(axis=axes) + 0.5) / (n + 1.0)
        raw = sign * np.log(share / (1.0 - share))
        raw = raw if facet == "model" else raw - raw.mean()
        measure = found.fit.score if facet == "model" else getattr(found.fit, facet)
        shifts[facet] = np.stack([raw, np.asarray(measure, float)], axis=1)
    return shifts


def _floats(values: np.ndarray) -> list[object]:
    return [float(value) for value in values]


def _append(columns: Columns, row: tuple[object, ...]) -> None:
    for values, value in zip(columns.values(), row, strict=True):
        values.append(value)
