"""Correlations between dimensions, from an evaluation's judgments.

Over models (such as one model under the six steering prompts), and over single responses.
"""

from __future__ import annotations

import dataclasses
import pathlib
import warnings
from collections.abc import Sequence

import numpy as np

from dignified_jax.evaluation import rubrics
from dignified_jax.evaluation.scores import calibration, results
from dignified_jax.evaluation.scores.ratings import read_ratings
from dignified_jax.evaluation.scores.results import Scores

_TAILS = (0.025, 0.975)


@dataclasses.dataclass(frozen=True)
class Correlations:
    """Pearson's correlations of MFRM scores; (dimension, dimension) arrays.

    Attributes:
      dimensions, models: names.
      scores, errors: (dimension, model) in logits.
      over_models: of the models' scores.
      low, high: 95% interval of them over samples of questions, for these very models.
      over_responses: within each model, of the responses' qualities: their means are taken off,
        so that differences between models play no part.
      responses: how many.
    """

    dimensions: tuple[str, ...]
    models: tuple[str, ...]
    scores: np.ndarray
    errors: np.ndarray
    over_models: np.ndarray
    low: np.ndarray
    high: np.ndarray
    over_responses: np.ndarray
    responses: int


def read(
    source: str | pathlib.Path,
    rubric: str | pathlib.Path,
    method: calibration.FitMethod,
    replicates: int,
    seed: int,
    models: Sequence[str] = (),
) -> Scores:
    """Scores judgments.

    Args:
      source: directory of an evaluation, or a table of ratings.
      rubric: file of the rubric that was judged by.
      method, replicates, seed: as in `evaluation.config.ScoringConfig`.
      models: those to look at later; all by default.

    Raises:
      ValueError, OSError: names what is missing or wrong, before anything is fitted.
    """
    file = pathlib.Path(source)
    if file.is_dir():
        file = file / "judgments.parquet"
        if not file.is_file():
            raise FileNotFoundError(
                f"{file}: no judgments; python -m dignified_jax.evaluate makes them"
            )
    rated = read_ratings(file, rubrics.read(rubric))
    judged = tuple(map(str, rated.ratings.labels["model"]))
    _chosen(models, judged, len(set(rated.dimension_of.values())))
    fits = calibration.calibrate(
        rated.ratings,
        rated.dimension_of,
        method=method,
        center="model",
        replicates=replicates,
        seed=seed,
    )
    return results.score(fits, rated.groups)


def correlate(scores: Scores, models: Sequence[str] = ()) -> Correlations:
    """Returns the correlations.

    Args:
      scores: of an evaluation.
      models: those to look at; all by default.

    Raises:
      ValueError: a model is not there, or fewer than three or fewer than two dimensions are.
    """
    names = _chosen(models, scores.models, len(scores.dimensions))
    place = [scores.models.index(name) for name in names]
    measures = [scores.measures[name]["mfrm"] for name in scores.dimensions]
    values = np.array([measure.value[place] for measure in measures])
    samples = np.array([scores.replicates[name][:, place] for name in scores.dimensions])
    drawn = [pearson(samples[:, n]) for n in range(samples.shape[1])]
    # Without a replicate, as of a single question, nothing is known of the interval.
    drawn = np.array(drawn or [np.full((len(measures),) * 2, np.nan)])
    with warnings.catch_warnings():  # of correlations without any value, whose bounds are NaN
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        low, high = np.nanquantile(drawn, _TAILS, axis=0)
    cells = np.array([measure.cells[place] for measure in measures])
    known = np.isfinite(cells).all(axis=0)
    means = np.where(known, cells, 0.0).sum(axis=2) / np.maximum(known.sum(axis=1), 1)
    within = (cells - means[:, :, None])[:, known]
    return Correlations(
        dimensions=scores.dimensions,
        models=names,
        scores=values,
        errors=np.array([measure.error[place] for measure in measures]),
        over_models=pearson(values),
        **{"low": low, "high": high},
        over_responses=pearson(within),
        responses=int(known.sum()),
    )


def _chosen(models: Sequence[str], judged: Sequence[str], dimensions: int) -> tuple[str, ...]:
    """The models to look at, if there are enough of them."""
    for name in models:
        if name not in judged:
            raise ValueError(f"--models: expected some of {', '.join(judged)}, found {name!r}")
    names = tuple(models) or tuple(judged)
    if len(names) < 3 or dimensions < 2:
        raise ValueError(
            f"correlations need three models and two dimensions, found {len(names)} and "
            f"{dimensions}"
        )
    return names


def pearson(values: np.ndarray) -> np.ndarray:
    """Returns the correlations of rows (row, point) as far as both are finite; NaN where a row
    does not vary, or fewer than three points are left."""
    found = np.full((len(values), len(values)), np.nan)
    for a, b in np.ndindex(found.shape):
        known = np.isfinite(values[[a, b]]).all(axis=0)
        x, y = (row - row.mean() if known.any() else row for row in values[[a, b]][:, known])
        scale = np.sqrt((x @ x) * (y @ y))
        if known.sum() >= 3 and scale > 1e-12 * max(1.0, np.abs(values[[a, b]][:, known]).max()):
            found[a, b] = x @ y / scale
    return found
