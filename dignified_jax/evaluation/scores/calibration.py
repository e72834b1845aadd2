"""One many-facet Rasch model a dimension, and one bootstrap over questions for all of them.

The dimensions' scores are of the same responses, so they vary together from one sample of
questions to another. All bootstraps draw the same questions; whatever is made of several
dimensions (groups, differences) is made in every replicate, and its spread is its standard error.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from dignified_jax import mfrm
from dignified_jax.console.labels import clip
from dignified_jax.console.waiting import ShowCount, uncounted
from dignified_jax.mfrm.fit import MOST_ON_HOST
from dignified_jax.mfrm.input.counts import EmptyLevelsError
from dignified_jax.mfrm.solver.estimate import FitMethod
from dignified_jax.mfrm.solver.gauge import Center

T = TypeVar("T")
Labels = Mapping[str, tuple[object, ...]]


class ScoresError(ValueError):
    """The ratings can't be scored as wanted."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A dimension's fit.

    Attributes:
      name: of the dimension.
      labels: facet -> labels of its levels; questions are the same in all dimensions.
      successes, trials: (model, question, judge, rubric) int32.
      fit: to these.
      bootstrap: over questions, the same samples in all dimensions; None for a single question.
      sensitivity: to each judge's absence; None for a single judge.
    """

    name: str
    labels: Labels
    successes: np.ndarray
    trials: np.ndarray
    fit: mfrm.Fit
    bootstrap: mfrm.Bootstrap | None
    sensitivity: mfrm.JudgeSensitivity | None


@dataclasses.dataclass(frozen=True)
class Calibrations:
    """The fits of all dimensions.

    Attributes:
      dimensions: name -> fit, in order.
      models: labels of all models.
      questions: of those rated in every dimension.
      notes: sentences on what was left out and how fits ended.
    """

    dimensions: Mapping[str, Calibration]
    models: tuple[object, ...]
    questions: tuple[object, ...]
    notes: tuple[str, ...]


def calibrate(
    ratings: mfrm.Ratings,
    dimension_of: Mapping[str, str],
    *,
    method: FitMethod = "quadrature",
    center: Center = "model",
    replicates: int = 100,
    seed: int = 0,
    progress: ShowCount = uncounted,
) -> Calibrations:
    """Fits every dimension.

    Args:
      ratings: from `mfrm.from_long`.
      dimension_of: rubric item -> dimension; dimensions stand in the order of their first item.
      method: "quadrature", "laplace" or "ridge", as `mfrm.fit` has them.
      center: "model" or "grand", as `mfrm.fit` has them.
      replicates: of the bootstrap over questions.
      seed: of its samples.
      progress: told how many replicates are done, and how many there are of all dimensions.

    Raises:
      ScoresError: an item has no dimension, or no question was rated in all of them.
      ValueError: as `mfrm.fit`; names the dimension.
    """
    items = [str(label) for label in ratings.labels["rubric"]]
    unknown = [item for item in items if item not in dimension_of]
    if unknown:
        raise ScoresError(f"rubric item {clip(unknown[0])}: expected a dimension, found none")
    places: dict[str, list[int]] = {name: [] for name in dict.fromkeys(dimension_of.values())}
    for place, item in enumerate(items):
        places[dimension_of[item]].append(place)
    places = {name: found for name, found in places.items() if found}
    rated = [ratings.trials[..., found].any(axis=(0, 2, 3)) for found in places.values()]
    common = np.flatnonzero(np.logical_and.reduce(rated))
    if not common.size:
        raise ScoresError("no question has ratings in every dimension")
    notes = list(ratings.notes)
    if left := len(ratings.labels["question"]) - common.size:
        notes.append(f"{left} questions without ratings in every dimension are left out")
    options = {"method": method, "center": center}
    found = {}
    with concurrent.futures.ThreadPoolExecutor(1) as worker:
        try:
            begun = {}
            for name, own in places.items():
                with _named(name):
                    begun[name] = _begin(ratings, name, own, common, options, worker)
            for number, (name, own) in enumerate(begun.items()):

                def count(done: int, _: int, before: int = number * replicates) -> None:
                    progress(before + done, replicates * len(begun))

                drawing = {"replicates": replicates, "seed": seed, "progress": count}
                with _named(name):
                    found[name] = _finish(own, drawing | options)
                notes += _notes(found[name], ratings.labels)
        finally:
            worker.shutdown(cancel_futures=True)
    questions = tuple(ratings.labels["question"][q] for q in common)
    return Calibrations(found, ratings.labels["model"], questions, tuple(notes))


@dataclasses.dataclass(frozen=True)
class _Begun:
    """A dimension whose fits are under way; see `Calibration`."""

    name: str
    labels: Labels
    successes: np.ndarray
    trials: np.ndarray
    fit: concurrent.futures.Future[mfrm.Fit]
    sensitivity: concurrent.futures.Future[mfrm.JudgeSensitivity] | None


def _begin(
    ratings: mfrm.Ratings,
    name: str,
    items: Sequence[int],
    questions: np.ndarray,
    options: Mapping[str, str],
    worker: concurrent.futures.Executor,
) -> _Begun:
    """Hands the fits of a dimension to a thread: it has them by NumPy while XLA has the bootstrap.

    Ratings that `mfrm.fit` gives to XLA are fitted here and now: programs of XLA that run at one
    time in several threads may wait for each other for ever.
    """
    successes, trials = (
        array[:, questions][..., items] for array in (ratings.successes, ratings.trials)
    )
    models = np.flatnonzero(trials.any(axis=(1, 2, 3)))
    judges = np.flatnonzero(trials.any(axis=(0, 1, 3)))
    kept = np.ix_(models, np.arange(questions.size), judges, np.arange(len(items)))
    labels = {
        facet: tuple(ratings.labels[facet][place] for place in places)
        for facet, places in (
            *(("model", models), ("question", questions)),
            *(("judge", judges), ("rubric", items)),
        )
    }
    successes, trials = successes[kept], trials[kept]
    submit = worker.submit if successes.size <= MOST_ON_HOST else _at_once
    fit = submit(_fit, labels, successes, trials, **options)
    sensitivity = None
    if judges.size > 1:
        # The worker takes one after the other, so the fit is there by then.
        sensitivity = submit(
            lambda: mfrm.leave_one_judge_out(fit.result(), successes, trials, labels=labels)
        )
    return _Begun(name, labels, successes, trials, fit, sensitivity)


def _fit(labels: Labels, *counts: np.ndarray, **options: str) -> mfrm.Fit:
    """`mfrm.fit`, which knows its levels by number alone."""
    try:
        return mfrm.fit(*counts, **options)
    except mfrm.DisconnectedError as error:
        raise ScoresError(
            "the design is disconnected: no chain of ratings joins these subsets, so that nothing "
            f"compares them. {'; '.join(error.named(labels))}. Score them apart, or add ratings "
            "that join them"
        ) from error
    except EmptyLevelsError as error:
        raise ScoresError(error.described(labels)) from error


def _finish(begun: _Begun, drawing: Mapping[str, Any]) -> Calibration:
    """Makes the bootstrap and waits for the rest."""
    fit = begun.fit.result()
    bootstrap = None
    if begun.successes.shape[1] > 1:  # samples of one question are all alike: no standard error
        bootstrap = mfrm.bootstrap(begun.successes, begun.trials, original=fit, **drawing)
    sensitivity = None if begun.sensitivity is None else begun.sensitivity.result()
    arrays = (begun.successes, begun.trials, fit)
    return Calibration(begun.name, begun.labels, *arrays, bootstrap, sensitivity)


def _notes(found: Calibration, labels: Labels) -> list[str]:
    """Sentences on who is left out of a dimension, and on how its fits ended."""
    notes = []
    for facet in ("model", "judge"):
        if left := sorted(map(str, {*labels[facet]} - {*found.labels[facet]})):
            notes.append(f"{found.name}: no ratings of {facet} {', '.join(map(clip, left))}")
    if (message := found.fit.describe(found.labels)) not in ("", "converged"):
        notes.append(f"{found.name}: {message}")
    if found.bootstrap is not None and found.bootstrap.failed:
        failed, replicates = found.bootstrap.failed, len(found.bootstrap.score)
        notes.append(f"{found.name}: {failed} of {replicates} bootstrap fits did not converge")
    return notes


@contextlib.contextmanager
def _named(dimension: str) -> Iterator[None]:
    """Names the dimension whose ratings can't be fitted."""
    try:
        yield
    except ValueError as error:
        raise ScoresError(f"dimension {clip(dimension)}: {error}") from error


def _at_once(
    function: Callable[..., T], *arguments: object, **options: object
) -> concurrent.futures.Future[T]:
    """The result of a call made in this thread, in the form that executors give."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    future.set_result(function(*arguments, **options))
    return future
