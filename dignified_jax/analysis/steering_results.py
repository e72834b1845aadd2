"""Numbers of steered responses: judged scores, success and coherence, as JSON, table and curves."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dignified_jax.analysis import coherence, figures, steering
from dignified_jax.analysis.steering import Rate, Strength
from dignified_jax.console.table import Table
from dignified_jax.data.schema import Prompt
from dignified_jax.evaluation.judging.judgments import Judge, Verdicts
from dignified_jax.evaluation.responses import Response
from dignified_jax.evaluation.rubrics import Rubric

UNSTEERED = Strength()
_LARGEST_EXPONENT = math.log(sys.float_info.max)


@dataclasses.dataclass(frozen=True)
class Condition:
    """Responses of one model under one strength along one vector.

    Attributes:
      model: label.
      dimension: name of the vector; "" for the model as it is.
      strength: of the edits.
    """

    model: str
    dimension: str
    strength: Strength

    @property
    def label(self) -> str:
        """The condition in words."""
        return " ".join(filter(None, (self.model, self.dimension, self.strength.label)))


def judged_scores(
    condition: Condition,
    texts: Mapping[str, str],
    prompts: Mapping[str, Prompt],
    rubric: Rubric,
    verdicts: Mapping[Judge, Verdicts],
) -> dict[str, list[np.ndarray]]:
    """Dimension of the rubric -> (prompt,) mean over its items, by each judge: log-odds where it
    gives them, else its 0s and 1s; NaN where an item has none."""
    hashes = [Response("", name, prompts[name], text).hash for name, text in texts.items()]

    def value(own: Verdicts, key: str, item: str) -> float:
        verdict = own.get((key, item))
        if verdict is None or verdict.score is None:
            return math.nan
        return verdict.score if verdict.log_odds is None else verdict.log_odds

    return {
        dimension: [
            np.array(
                [
                    np.mean(
                        [value(own, key, i.name) for i in rubric.items if i.dimension == dimension]
                    )
                    for key in hashes
                ]
            )
            for own in verdicts.values()
        ]
        for dimension in rubric.dimensions
    }


def results(
    models: Sequence[str],
    names: Sequence[str],
    texts: Mapping[Condition, Mapping[str, str]],
    nll: Mapping[Condition, np.ndarray],
    scores: Mapping[Condition, Mapping[str, list[np.ndarray]]],
) -> dict[str, Any]:
    """Model -> the unsteered model's numbers, and dimension -> those of its strengths."""
    found: dict[str, Any] = {}
    for model in models:
        plain = Condition(model, "", UNSTEERED)
        found[model] = {"unsteered": _numbers(plain, texts, nll, scores), "dimensions": {}}
        for name in names:
            own = [c for c in texts if (c.model, c.dimension) == (model, name)]
            judged = {
                c.strength.alpha: scores[c][name]
                for c in own
                if not c.strength.capped and name in scores[c]
            }
            moved = steering.success(judged, scores[plain].get(name, []))
            apart = steering.both_ways(judged)
            found[model]["dimensions"][name] = [
                {
                    "strength": c.strength.label,
                    "alpha": None if c.strength.capped else c.strength.alpha,
                    **_numbers(c, texts, nll, scores),
                    "success": _rate(
                        moved.get(c.strength.alpha) if not c.strength.capped else None
                    ),
                    "above_opposite": _rate(apart.get(c.strength.alpha)),
                    "change": {
                        k: _rate(Rate.of(np.mean(np.subtract(v, scores[plain][k]), axis=0)))
                        for k, v in scores[c].items()
                    },
                }
                for c in own
            ]
    return found


def _numbers(
    condition: Condition,
    texts: Mapping[Condition, Mapping[str, str]],
    nll: Mapping[Condition, np.ndarray],
    scores: Mapping[Condition, Mapping[str, list[np.ndarray]]],
) -> dict[str, Any]:
    mean = Rate.of(nll[condition])
    repeated = Rate.of([coherence.repetition(text) for text in texts[condition].values()])
    return {
        "perplexity": [_perplexity(v) for v in dataclasses.astuple(mean)],
        "repetition": _rate(repeated),
        "empty": sum(not text.strip() for text in texts[condition].values()),
        "scores": {k: _rate(Rate.of(np.mean(v, axis=0))) for k, v in scores[condition].items()},
    }


def _perplexity(nll: float) -> float | None:
    """A JSON number; None where it is unknown, or more than any number."""
    return math.exp(nll) if math.isfinite(nll) and nll < _LARGEST_EXPONENT else None


def _rate(rate: Rate | None) -> list[float | None] | None:
    """Value, low and high for a JSON file."""
    if rate is None:
        return None
    return [value if math.isfinite(value) else None for value in dataclasses.astuple(rate)]


def table(found: Mapping[str, Any]) -> Table:
    columns: dict[str, list[object]] = {
        name: []
        for name in (
            *("model", "dimension", "strength", "success", "from", "to"),
            *("perplexity", "repetition", "score"),
        )
    }
    for model, own in found.items():
        rows = [("", "0", own["unsteered"])]
        for name, listed in own["dimensions"].items():
            rows += [(name, each["strength"], each) for each in listed]
        for name, strength, each in rows:
            success = each.get("success") or (None, None, None)
            score = each["scores"].get(name, (None,))[0]
            numbers = (*success, each["perplexity"][0], each["repetition"][0], score)
            row = (model, name, strength, *(math.nan if v is None else v for v in numbers))
            for values, value in zip(columns.values(), row, strict=True):
                values.append(value)
    note = "success: share of prompts whose score moved the way it was steered; 0.5 is chance"
    return Table("steering", "Steering", columns, notes=(note,))


def draw(workdir: pathlib.Path, found: Mapping[str, Any], names: Sequence[str]) -> None:
    for file, key, title, level in (
        ("success.png", "success", "share of prompts that moved as steered", 0.5),
        ("perplexity.png", "perplexity", "perplexity, unsteered model", None),
        ("repetition.png", "repetition", "share of repeated 4-grams", None),
        ("scores.png", "scores", "judged score", None),
    ):
        panels = {}
        for name in names:
            series = []
            for model, own in found.items():
                listed = [each for each in own["dimensions"][name] if each["alpha"] is not None]
                points = [
                    (each["alpha"], each[key].get(name) if key == "scores" else each[key])
                    for each in listed
                ]
                if key == "success":
                    points.append((0.0, [0.5, 0.5, 0.5]))
                else:
                    plain = own["unsteered"][key]
                    points.append((0.0, plain.get(name) if key == "scores" else plain))
                points = sorted(
                    (x, [math.nan if v is None else v for v in y])
                    for x, y in points
                    if y is not None and y[0] is not None
                )
                if points:
                    x = np.array([x for x, _ in points])
                    y = np.array([y for _, y in points], float)
                    series.append(figures.Series(model, x, *y.T))
            if series:
                panels[f"along {name}"] = series
        if panels:
            figure = figures.curves(panels, "alpha", title, level, shared_y=key != "scores")
            figures.save(workdir / file, figure)
