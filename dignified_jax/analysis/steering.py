"""Strengths of steering and what they are worth: success of each, with coherence beside it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from dignified_jax.generation.steering import Positions, Steering
from dignified_jax.models.checkpoint.vector_file import PersonaVector
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.residual import Cap, Edits, make_edits

CONFIDENCE, REPLICATES = 0.95, 1000


@dataclasses.dataclass(frozen=True)
class Strength:
    """An edit along a vector: a multiple of it added, or the stream held within bounds.

    Attributes:
      alpha: multiple of the difference of the poles, so that 1 moves the stream as far as the
        persona's prompt does; 0 adds nothing.
      low, high: bounds of the projection on the unit vector.
    """

    alpha: float = 0.0
    low: float = -math.inf
    high: float = math.inf

    @property
    def label(self) -> str:
        """The strength in a word, such as "+1.5" or "[-inf, 2]"."""
        return f"[{self.low:g}, {self.high:g}]" if self.capped else f"{self.alpha:+g}"

    @property
    def capped(self) -> bool:
        """True where there are bounds."""
        return (self.low, self.high) != (-math.inf, math.inf)

    def edits(self, config: DecoderConfig, vector: PersonaVector, layers: Sequence[int]) -> Edits:
        """Returns the edits of some layers, each along its own vector.

        Raises:
          ValueError: as `make_edits`.
        """
        if self.capped:
            caps = [Cap(n, vector.difference[n], self.low, self.high) for n in layers]
            return make_edits(config, caps=caps)
        return make_edits(config, {n: self.alpha * vector.difference[n] for n in layers})

    def steering(
        self,
        config: DecoderConfig,
        vector: PersonaVector,
        layers: Sequence[int],
        positions: Positions,
    ) -> Steering:
        """Returns the edits while sampling; arguments as `edits`."""
        return Steering(self.edits(config, vector, layers), positions)


@dataclasses.dataclass(frozen=True)
class Rate:
    """A mean over prompts with a 95% interval from a bootstrap over them; NaN of none.

    Of one prompt there is no interval, as its samples are all alike.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray, seed: int = 0) -> Rate:
        """Makes the mean of what is known."""
        known = np.asarray(values, float)
        known = known[np.isfinite(known)]
        if not known.size:
            return cls(math.nan, math.nan, math.nan)
        if known.size == 1:
            return cls(float(known[0]), math.nan, math.nan)
        draws = np.random.default_rng(seed).integers(0, known.size, (REPLICATES, known.size))
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(known[draws].mean(1), [tail, 1 - tail])
        return cls(float(known.mean()), float(low), float(high))


def wins(higher: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Returns (prompt,) 1 where the first score is above the second, 0.5 where they are equal and
    0 where it is below; NaN where one is unknown."""
    found = (higher > lower) + 0.5 * (higher == lower)
    return np.where(np.isfinite(higher) & np.isfinite(lower), found, np.nan)


def success(
    scores: Mapping[float, Sequence[np.ndarray]], baseline: Sequence[np.ndarray]
) -> dict[float, Rate]:
    """Returns alpha -> share of prompts whose response moved the way it was steered.

    A response moved if its score is above that of the unsteered response for a positive alpha, and
    below it for a negative one; an equal score counts half, so that chance is 0.5. Judges are
    averaged prompt by prompt.

    Args:
      scores: alpha -> (prompt,) scores by each judge.
      baseline: the same of the responses that were not steered.
    """
    return {
        alpha: Rate.of(
            np.mean(
                [
                    wins(own, plain) if alpha > 0 else wins(plain, own)
                    for own, plain in zip(judges, baseline, strict=True)
                ],
                axis=0,
            )
        )
        for alpha, judges in scores.items()
        if alpha
    }


def both_ways(scores: Mapping[float, Sequence[np.ndarray]]) -> dict[float, Rate]:
    """Returns alpha > 0 -> share of prompts whose score at alpha is above that at -alpha."""
    return {
        alpha: Rate.of(
            np.mean(
                [wins(up, down) for up, down in zip(judges, scores[-alpha], strict=True)], axis=0
            )
        )
        for alpha, judges in scores.items()
        if alpha > 0 and -alpha in scores
    }
