"""Scores of models in dimensions and groups: three measures of each, with standard errors."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from dignified_jax.evaluation.scores.calibration import Calibration, Calibrations
from dignified_jax.evaluation.scores.friedman import Friedman, friedman
from dignified_jax.evaluation.scores.plain import (
    mean_and_error,
    raw_probability,
    z_scores,
)

MEASURES = ("raw", "z", "mfrm")
"""Share of 1s; mean of judges' z-scores; score of the many-facet Rasch model, in logits."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """One measure of all models in a dimension or group; arrays (model,).

    Attributes:
      value: NaN where a model has no ratings, infinite where all of them are alike.
      error: standard error over samples of questions.
      n: responses rated.
      cells: (model, question) values.
      test: Friedman's, of `cells`.
    """

    value: np.ndarray
    error: np.ndarray
    n: np.ndarray
    cells: np.ndarray
    test: Friedman


@dataclasses.dataclass(frozen=True)
class Scores:
    """All there is to say of models.

    Attributes:
      models: labels.
      measures: dimension or group -> name of `MEASURES` -> its values.
      dimensions, groups: names; the latter with their dimensions.
      replicates: dimension or group -> (replicate, model) scores of the bootstrap; no replicates
        of a single question.
      calibrations: behind the scores.
    """

    models: tuple[str, ...]
    measures: Mapping[str, Mapping[str, Measure]]
    dimensions: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    replicates: Mapping[str, np.ndarray]
    calibrations: Calibrations


@dataclasses.dataclass(frozen=True)
class Delta:
    """Change from one model to another in a dimension or group, in logits.

    Attributes:
      name: of the dimension or group.
      change: score of the second less that of the first.
      error: of the change, over samples of questions that both answered.
      p: two-sided, normal.
      n: questions.
    """

    name: str
    change: float
    error: float
    p: float
    n: int


def score(found: Calibrations, groups: Mapping[str, Sequence[str]]) -> Scores:
    """Makes scores of fits.

    Args:
      found: the fits.
      groups: name -> dimensions whose scores are averaged; those with a dimension that was not
        fitted are left out.
    """
    models = found.models
    place = {label: at for at, label in enumerate(models)}
    measures: dict[str, dict[str, Measure]] = {}
    replicates: dict[str, np.ndarray] = {}
    for name, own in found.dimensions.items():
        rows = [place[label] for label in own.labels["model"]]
        measures[name] = _of_dimension(own, rows, len(models))
        drawn = np.zeros((0, len(rows))) if own.bootstrap is None else own.bootstrap.score
        replicates[name] = _spread(drawn.T, rows, len(models)).T
    known = {g: tuple(m) for g, m in groups.items() if set(m) <= set(found.dimensions)}
    for group, members in known.items():
        replicates[group] = np.mean([replicates[m] for m in members], axis=0)
        parts = [measures[member] for member in members]
        measures[group] = {
            kind: _of_group([part[kind] for part in parts], replicates[group], kind)
            for kind in MEASURES
        }
    return Scores(
        models=tuple(map(str, models)),
        measures=measures,
        dimensions=tuple(found.dimensions),
        groups=known,
        replicates=replicates,
        calibrations=found,
    )


def delta(scores: Scores, name: str, before: int, after: int) -> Delta:
    """Change between two models, by number, with the error of paired replicates."""
    measure = scores.measures[name]["mfrm"]
    with np.errstate(invalid="ignore"):  # infinite less infinite is unknown
        change = float(measure.value[after] - measure.value[before])
    pairs = scores.replicates[name][:, [before, after]]
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    moved = pairs[:, 1] - pairs[:, 0]
    error = float(moved.std(ddof=1)) if moved.size > 1 and math.isfinite(change) else math.nan
    both = np.isfinite(measure.cells[[before, after]]).all(axis=0)
    # A copy's change and error are what rounding leaves.
    p = math.erfc(abs(change / error) / math.sqrt(2.0)) if error > 1e-5 else math.nan
    return Delta(name, change, error, p, int(both.sum()))


def _of_dimension(found: Calibration, rows: list[int], models: int) -> dict[str, Measure]:
    made = {}
    quality = np.asarray(found.fit.quality, float)
    rated = found.trials.any(axis=(2, 3))
    quality = np.where(rated, quality, np.nan)
    for kind, own in (("raw", raw_probability(found)), ("z", z_scores(found)), ("mfrm", quality)):
        cells = _spread(own, rows, models)
        value, error, n = mean_and_error(cells)
        if kind == "mfrm":
            value = _spread(np.asarray(found.fit.score, float), rows, models)
            drawn = found.bootstrap
            error = np.full(len(rows), np.nan) if drawn is None else drawn.standard_error
            error = _spread(error, rows, models)
        made[kind] = Measure(value, error, n, cells, friedman(cells))
    return made


def _of_group(parts: Sequence[Measure], replicates: np.ndarray, kind: str) -> Measure:
    cells = np.mean([part.cells for part in parts], axis=0)
    value, error, n = mean_and_error(cells)
    if kind == "mfrm":
        value = np.mean([part.value for part in parts], axis=0)
        error = np.array([_deviation(column) for column in replicates.T])
        error = np.where(np.isfinite(value), error, np.nan)
    return Measure(value, error, n, cells, friedman(cells))


def _deviation(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1)) if values.size > 1 else math.nan


def _spread(values: np.ndarray, rows: Sequence[int], models: int) -> np.ndarray:
    """Values of some models put in the places of all; NaN for the others."""
    whole = np.full((models, *np.shape(values)[1:]), np.nan)
    whole[list(rows)] = values
    return whole


def correlations(scores: Scores, kind: str = "mfrm") -> tuple[np.ndarray, np.ndarray, int]:
    """Correlations between dimensions over all responses, their standard errors, and how many.

    Pearson's, of (model, question) values; the errors are of the samples of questions of the
    bootstrap.

    Returns:
      (dimension, dimension) twice, and the number of responses.
    """
    cells = np.stack([scores.measures[name][kind].cells for name in scores.dimensions])
    known = np.isfinite(cells).all(axis=0)
    draws = _question_draws(scores)
    found = [_correlate(cells[:, :, d], known[:, d]) for d in draws]
    spread = np.ma.masked_invalid(np.stack(found)).std(axis=0, ddof=1)
    error = np.ma.filled(spread, np.nan)
    if draws.shape[1] < 2:  # samples of one question are all alike
        error = np.full_like(error, np.nan)
    whole = _correlate(cells, known)
    return whole, np.where(np.eye(len(whole), dtype=bool), 0.0, error), int(known.sum())


def model_correlations(scores: Scores) -> tuple[np.ndarray, int]:
    """Correlations between dimensions of the models' scores, and the number of models."""
    values = np.stack([scores.measures[name]["mfrm"].value for name in scores.dimensions])
    known = np.isfinite(values).all(axis=0)
    return _correlate(values[:, :, None], known[:, None]), int(known.sum())


def _question_draws(scores: Scores, most: int = 100) -> np.ndarray:
    questions = len(scores.calibrations.questions)
    return np.random.default_rng(0).integers(questions, size=(most, questions))


def _correlate(cells: np.ndarray, known: np.ndarray) -> np.ndarray:
    values = cells[:, known]
    if values.shape[1] < 2:
        return np.full((len(cells), len(cells)), np.nan)
    centred = values - values.mean(axis=1, keepdims=True)
    products = centred @ centred.T
    scale = np.sqrt(np.diag(products))
    floor = 1e-9 * max(float(np.abs(values).max()), 1.0) * math.sqrt(values.shape[1])
    scale = np.where(scale > floor, scale, np.nan)
    return products / np.outer(scale, scale)
