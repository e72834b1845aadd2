"""Reasons for what a report lacks: too few levels, or ratings that are all alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dignified_jax.console.table import Table
from dignified_jax.evaluation.scores.calibration import Calibration
from dignified_jax.evaluation.scores.results import MEASURES, Scores, model_correlations

Line = tuple[str, str, str]
"""What, of which dimensions, why."""

_KINDS = {"judge": "severity of judge", "rubric": "difficulty of item"}


def unavailable_table(scores: Scores) -> Table:
    """Returns what can't be computed of these ratings, with the reason; without rows: all can."""
    lines = [
        *_of_few(scores),
        *_of_models(scores),
        *(line for name, one in scores.calibrations.dimensions.items() for line in _of(name, one)),
        *_of_ranks(scores),
    ]
    columns: dict[str, list[object]] = {
        key: [line[place] for line in lines] for place, key in enumerate(("what", "of", "why"))
    }
    return Table(
        name="unavailable",
        title="what can't be computed, and why",
        columns=columns,
        notes=("Where a table has a place for it, a dash or \u221e stands there.",),
    )


def _of_few(scores: Scores) -> Iterator[Line]:
    """All that a single model, question, dimension, judge or item rules out."""
    fits = scores.calibrations.dimensions
    every = "all"
    if len(scores.models) < 2:
        what = "changes, Friedman tests, rank correlations, biases of judges for models"
        yield what, every, "they compare models, and there is one"
        yield "Z-scores", every, "they are relative to the mean of all responses: a lone model is 0"
    if len(scores.calibrations.questions) < 2:
        what = "standard errors of scores, changes and correlations; Friedman tests"
        yield what, every, "they come from how questions differ, and there is one"
    if len(fits) < 2:
        yield "correlations between dimensions", every, "there is one dimension"
    sets = (
        ("judge", "severities, biases of judges for models, what a judge's absence changes"),
        ("rubric", "difficulties of items"),
    )
    for facet, what in sets:
        names = [name for name, found in fits.items() if len(found.labels[facet]) < 2]
        if names:
            word = {"judge": "judge", "rubric": "item"}[facet]
            yield what, _listed(names, fits), f"they compare {word}s, and there is one"


def _of_models(scores: Scores) -> Iterator[Line]:
    """Models without a finite score, or without its error."""
    for place, model in enumerate(scores.models):
        absent, failed, ends, loose = [], [], {1: [], -1: []}, []
        for name in scores.dimensions:
            measure = scores.measures[name]["mfrm"]
            value, error = measure.value[place], measure.error[place]
            if np.isnan(value):
                (failed if measure.n[place] else absent).append(name)
            elif np.isinf(value):
                ends[int(np.sign(value))].append(name)
            elif np.isnan(error) and len(scores.calibrations.questions) > 1:
                loose.append(name)
        fits = scores.calibrations.dimensions
        if absent:
            yield f"score of {model}", _listed(absent, fits), "it has no ratings there"
        if failed:
            why = "the fit failed, as the notes say; scoring.method=ridge gives every level a prior"
            yield f"score of {model}", _listed(failed, fits), why
        for sign, names in ends.items():
            if names:
                kind = "1s" if sign > 0 else "0s"
                why = (
                    f"its ratings are all {kind}, so the score is infinite; scoring.center=grand "
                    "keeps it finite"
                )
                yield f"finite score of {model}", _listed(names, fits), why
        if loose:
            why = "fewer than two samples of questions give a finite score"
            yield f"standard error of the score of {model}", _listed(loose, fits), why


def _of(name: str, found: Calibration) -> Iterator[Line]:
    """Judges and items whose ratings are all alike, and refits that failed."""
    for facet, kind in _KINDS.items():
        for label, value in zip(
            found.labels[facet], np.asarray(getattr(found.fit, facet), float), strict=True
        ):
            if np.isinf(value):
                ratings = "0s" if value > 0 else "1s"
                why = f"its ratings are all {ratings}; scoring.method=ridge keeps it finite"
                yield f"finite {kind} {label}", name, why
    if found.sensitivity is not None:
        for judge, message, tau in zip(
            found.labels["judge"], found.sensitivity.message, found.sensitivity.kendall, strict=True
        ):
            if np.isnan(tau) and len(found.labels["model"]) > 1:
                yield f"ranks without judge {judge}", name, message


def _of_ranks(scores: Scores) -> Iterator[Line]:
    """Tests and correlations of models whose values are all tied, or too few."""
    if len(scores.models) < 2:
        return
    if len(scores.calibrations.questions) > 1:
        few, tied = [], []
        for name, kinds in scores.measures.items():
            tests = [kinds[kind].test for kind in MEASURES]
            few += [name] * any(test.questions < 2 for test in tests)
            tied += [name] * any(t.questions > 1 and np.isnan(t.statistic) for t in tests)
        if few:
            why = "fewer than two questions have a finite value of every model"
            yield "some Friedman tests", ", ".join(few), why
        if tied:
            yield "some Friedman tests", ", ".join(tied), "all models are tied"
    if len(scores.dimensions) > 1:
        over, n = model_correlations(scores)
        if np.isnan(over[np.triu_indices(len(over), 1)]).any():
            why = f"{n} models have finite scores in all, or a dimension's scores do not differ"
            yield "some correlations between dimensions over models", "all", why


def _listed(names: Sequence[str], every: object) -> str:
    """Names, or "all"."""
    return "all" if len(names) == len(list(every)) and len(names) > 1 else ", ".join(names)
