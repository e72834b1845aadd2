"""How far a model's states moved from those of its base, as a stream over texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float

from dignified_jax.analysis import states
from dignified_jax.analysis.cka import CkaSums
from dignified_jax.analysis.separation import Estimate
from dignified_jax.analysis.states import Reading
from dignified_jax.analysis.vectors import cosine
from dignified_jax.evaluation.models import LoadedModel
from dignified_jax.models.checkpoint.vector_file import PersonaVector

BATCH = 32  # texts of a minibatch of CKA
_NORMAL = 1.96


class Readings(Protocol):
    """Readings by the slice."""

    def __len__(self) -> int: ...
    def __getitem__(self, chosen: slice) -> Sequence[Reading]: ...


@dataclasses.dataclass
class RunningMoments:
    """Mean and products of deviations of vectors, one after the other (Welford, 1962).

    Attributes:
      count: how many.
      mean: of each entry.
      products: of the deviations of each entry with itself; with every other one of the first
        axis where `crossed`.
      crossed: see there.
    """

    crossed: bool = False
    count: int = 0
    mean: np.ndarray | float = 0.0
    products: np.ndarray | float = 0.0

    def add(self, values: np.ndarray) -> None:
        """Takes one vector (entry, …)."""
        self.count += 1
        before = values - self.mean
        self.mean = self.mean + before / self.count
        after = values - self.mean
        self.products = self.products + (
            np.einsum("i...,j...->ij...", before, after) if self.crossed else before * after
        )

    def interval(self) -> Estimate:
        """Returns the mean with its normal 95% interval, NaN with one vector."""
        if self.count < 2:
            unknown = np.full_like(self.mean, np.nan)
            return Estimate(self.mean, unknown, unknown)
        half = _NORMAL * np.sqrt(self.products / (self.count - 1) / self.count)
        return Estimate(self.mean, self.mean - half, self.mean + half)


@dataclasses.dataclass(frozen=True)
class StateDrift:
    """Changes of a model's states, layer by layer.

    Attributes:
      texts: how many.
      cosine: of a text's state with that under the base.
      change: length of the difference over that of the base's state.
      cka: of all states, 1 where one model's are a rotation and a scale of the other's.
      shifts: (vector, layer) change along each vector, in its own length: 1 is as far as the
        persona's prompt moves the base.
      alignment: (vector, layer) cosine of the mean change with each vector; directions that know
        nothing of each other have about 1 / sqrt(width).
      correlation: (vector, vector) of the texts' shifts, each at its vector's layer; NaN where one
        does not vary.
    """

    texts: int
    cosine: Estimate
    change: Estimate
    cka: Estimate
    shifts: Estimate
    alignment: np.ndarray
    correlation: np.ndarray


class DriftSums:
    """The numbers of a drift, whose size does not grow with the texts."""

    def __init__(self, vectors: Sequence[PersonaVector]) -> None:
        self._layers = np.array([vector.layer for vector in vectors], int)
        scaled = [_scaled(vector) for vector in vectors]
        self._moved: np.ndarray | float = 0.0
        self._directions = np.array(scaled) if scaled else None
        self._cosine, self._change, self._shifts = (
            RunningMoments(),
            RunningMoments(),
            RunningMoments(),
        )
        self._together = RunningMoments(crossed=True)
        self._cka = CkaSums()

    def add(
        self,
        base: Float[np.ndarray, "text layer width"],
        model: Float[np.ndarray, "text layer width"],
    ) -> None:
        """Takes the states of a minibatch of texts under both models."""
        self._cka.add(base, model)
        for before, after in zip(base.astype(np.float64), model.astype(np.float64), strict=True):
            moved = after - before
            self._moved = self._moved + moved
            self._cosine.add(cosine(before, after))
            self._change.add(
                np.linalg.norm(moved, axis=-1) / np.maximum(np.linalg.norm(before, axis=-1), 1e-30)
            )
            if self._directions is not None:
                along = np.einsum("lw,klw->kl", moved, self._directions)
                self._shifts.add(along)
                self._together.add(along[np.arange(len(along)), self._layers])

    def result(self) -> StateDrift:
        """Returns the drift so far.

        Raises:
          ValueError: of no texts.
        """
        if not self._cosine.count:
            raise ValueError("drift: expected at least one text, found none")
        none = Estimate(*(np.zeros((0, 0)) for _ in range(3)))
        alignment = correlation = np.zeros((0, 0))
        if self._directions is not None:
            alignment = cosine(self._moved, self._directions)
            products = self._together.products
            scale = np.sqrt(np.diag(products))
            with np.errstate(invalid="ignore", divide="ignore"):
                correlation = products / np.outer(scale, scale)
        return StateDrift(
            texts=self._cosine.count,
            cosine=self._cosine.interval(),
            change=self._change.interval(),
            cka=self._of_cka(),
            shifts=none if self._directions is None else self._shifts.interval(),
            alignment=alignment,
            correlation=correlation,
        )

    def _of_cka(self) -> Estimate:
        if not self._cka.parts:
            return Estimate(*(np.full_like(self._cosine.mean, np.nan) for _ in range(3)))
        value, error = self._cka.estimate()
        return Estimate(value, value - _NORMAL * error, value + _NORMAL * error)


def measure(
    base: LoadedModel,
    model: LoadedModel,
    readings: Readings,
    longest: int,
    vectors: Sequence[PersonaVector] = (),
    progress: Callable[[int, int], None] | None = None,
) -> StateDrift:
    """Returns the drift of a model, reading both models' states a minibatch at a time.

    Args:
      base, model: of one size.
      readings: texts with one span each; in random order, for minibatches of CKA are to be alike.
      longest: tokens that a text has at most.
      vectors: to look along.
      progress: called with the texts done and all of them.

    Raises:
      ValueError: no texts, or one that is too long.
    """
    sums = DriftSums(vectors)
    for start in range(0, len(readings), BATCH):
        chunk = readings[start : start + BATCH]
        pair = (
            dict(states.read_states(each.module, each.params, chunk, longest=longest))
            for each in (base, model)
        )
        sums.add(*(np.stack([found[n][0] for n in range(len(chunk))]) for found in pair))
        if progress is not None:
            progress(start + len(chunk), len(readings))
    return sums.result()


def _scaled(vector: PersonaVector) -> np.ndarray:
    """(layer, width) whose product with a shift is the shift in lengths of the vector."""
    squares = np.sum(vector.difference.astype(np.float64) ** 2, axis=-1, keepdims=True)
    return np.divide(
        vector.difference, squares, out=np.zeros(vector.difference.shape), where=squares > 0
    )


def check_size(base: LoadedModel, model: LoadedModel) -> None:
    """Refuses a model that is not of the base's size.

    Raises:
      ValueError: names the model.
    """
    wanted, found = (
        (each.module.config.num_layers, each.module.config.hidden_size) for each in (base, model)
    )
    if found != wanted:
        raise ValueError(
            f"{model.name}: expected a model of the base's size, {wanted[0]} layers of width "
            f"{wanted[1]}, found {found[0]} of width {found[1]}"
        )
