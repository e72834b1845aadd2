"""How well the ratings bear the calibration out: mean squares, and ratings that surprise it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dignified_jax import mfrm
from dignified_jax.console.table import Table
from dignified_jax.evaluation.scores.calibration import Calibration
from dignified_jax.evaluation.scores.results import Scores
from dignified_jax.mfrm.report.verdict import MISFIT, Fitting

MOST_UNEXPECTED = 5
"""Ratings that are listed of a dimension."""
_FACETS = {"judge": "judge", "rubric": "item"}
_STATISTICS = ("infit", "infit_zstd", "outfit", "count")
_FIGURES = ("observed", "expected", "standardized")


def misfit_table(scores: Scores) -> Table:
    """Mean squares of judges and items beside those of all ratings of the dimension."""
    keys = ("of", "facet", "level", "infit", "outfit", "infit to all", "reading", "n")
    lines: list[tuple[object, ...]] = []
    for name, found in scores.calibrations.dimensions.items():
        about = mfrm.diagnose(found.fit, found.successes, found.trials)
        overall = [float(getattr(about.overall, key)) for key in _STATISTICS]
        rows = [("all ratings", "", overall, math.nan)]
        for facet, title in _FACETS.items():
            own = getattr(about, facet).statistics
            values = np.stack([np.asarray(getattr(own, key), float) for key in _STATISTICS], 1)
            fitting = Fitting.of(own, found.fit, facet)
            # Levels with only 1s or only 0s, which a ridge keeps, always fit.
            usual = np.where(fitting.extreme, math.nan, fitting.usual(overall[0]))
            levels = zip(found.labels[facet], values.tolist(), usual.tolist(), strict=True)
            rows += [(title, str(label), *rest) for label, *rest in levels]
        for title, label, (infit, z, outfit, count), usual in rows:
            ratio = infit / overall[0] if overall[0] > 0 else math.nan
            word = reading(infit / usual if usual > 0 else math.nan, z)
            lines.append((name, title, label, infit, outfit, ratio, word, int(count)))
    return Table(
        name="misfit",
        title="fit of judges and items: mean squares of residuals",
        columns=_columns(keys, lines),
        notes=(
            "infit weighs ratings by what they tell; outfit does not, and shows single surprises. "
            "Every response has a quality of its own that follows its ratings, so that where all "
            'is as modelled they lie below 1: compare with "all ratings". '
            f"erratic, too regular: infit {MISFIT:g} times that or more, or less than "
            f"{1 / MISFIT:.2f} times, and more than chance makes.",
        ),
    )


def unexpected_table(scores: Scores) -> Table:
    """Single ratings that the calibration did not expect, the most surprising first."""
    keys = ("of", "model", "question", "judge", "item", "score", "expected", "z", "n")
    lines: list[tuple[object, ...]] = []
    counts = []
    for name, found in scores.calibrations.dimensions.items():
        surprises = mfrm.unexpected_responses(
            found.fit, found.successes, found.trials, most=MOST_UNEXPECTED
        )
        counts.append(f"{name} {surprises.total:,} of {surprises.rated:,}")
        levels = _labelled(found, surprises)
        for place in range(len(surprises.observed)):
            figures = (getattr(surprises, key)[place] for key in _FIGURES)
            line = (name, *(labels[place] for labels in levels.values()), *map(float, figures))
            lines.append((*line, int(surprises.judgments[place])))
    return Table(
        name="unexpected",
        title="ratings that the calibration did not expect",
        columns=_columns(keys, lines),
        notes=(
            "z: standardised residual, of 3 or more either way; "
            f"the first {MOST_UNEXPECTED} of each dimension are listed. There are, of all ratings: "
            f"{'; '.join(counts)}.",
        ),
    )


def _columns(keys: Sequence[str], lines: Sequence[tuple[object, ...]]) -> dict[str, list[object]]:
    """Key -> its values of all lines."""
    return {key: [line[place] for line in lines] for place, key in enumerate(keys)}


def _labelled(found: Calibration, surprises: mfrm.UnexpectedResponses) -> Mapping[str, list[str]]:
    """Facet -> labels of the levels of each rating."""
    return {
        facet: [str(found.labels[facet][level]) for level in getattr(surprises, facet)]
        for facet in ("model", "question", "judge", "rubric")
    }


def reading(ratio: float, z: float) -> str:
    """Returns a word for a level that is out of line, by the rule of `mfrm`'s verdict; else "".

    Args:
      ratio: of its infit to the usual one: of all ratings but those of extreme levels.
      z: its infit, standardised.
    """
    if abs(z) >= 2.0 and ratio > MISFIT:
        return "erratic"
    return "too regular" if abs(z) >= 2.0 and ratio < 1.0 / MISFIT else ""
