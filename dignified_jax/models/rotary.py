"""Rotary position embeddings (Su et al., "RoFormer", 2021) and the ways to stretch their context.

A pair of entries of a query or key at position t is rotated by t times the pair's frequency.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class LinearRopeScaling:
    """Positions divided by `factor` (Chen et al., "Extending Context Window", 2023)."""

    factor: float


@dataclasses.dataclass(frozen=True)
class DynamicRopeScaling:
    """A larger base for batches with positions beyond the original context ("NTK-aware")."""

    factor: float


@dataclasses.dataclass(frozen=True)
class YarnRopeScaling:
    """Low frequencies divided by `factor`, high ones kept (Peng et al., "YaRN", 2023).

    Attributes:
      attention_factor: of cosines and sines; None computes it from `factor` and the two `mscale`.
      beta_fast, beta_slow: turns over the original context above which a frequency is kept, and
        below which it is divided.
      truncate: whether the bounds between those are whole numbers of pairs.
    """

    factor: float
    original_max_position_embeddings: int
    attention_factor: float | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True


@dataclasses.dataclass(frozen=True)
class Llama3RopeScaling:
    """Frequency scaling of Llama 3.1 and later; the names are those of ``rope_parameters``."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


RopeScaling = LinearRopeScaling | DynamicRopeScaling | YarnRopeScaling | Llama3RopeScaling
# By the name of ``rope_type``; "default" is without one.
SCALINGS: dict[str, type[RopeScaling]] = {
    "linear": LinearRopeScaling,
    "dynamic": DynamicRopeScaling,
    "yarn": YarnRopeScaling,
    "llama3": Llama3RopeScaling,
}


def rotary_frequencies(
    width: int, theta: float, scaling: RopeScaling | None, context: int, positions: jax.Array
) -> jax.Array:
    """Angle per position of each pair, (width / 2,) float32.

    Args:
      width: of a head.
      theta: base of the frequencies.
      scaling: how the context is stretched; None is as it was trained.
      context: positions of the context.
      positions: (batch, length) int32; only `DynamicRopeScaling` looks at them.
    """
    exponents = jnp.arange(0, width, 2, dtype=jnp.float32) / width
    if isinstance(scaling, DynamicRopeScaling):
        seen = jnp.maximum(jnp.max(positions) + 1, context).astype(jnp.float32)
        stretch = scaling.factor * seen / context - (scaling.factor - 1)
        return 1.0 / ((theta * stretch ** (width / (width - 2))) ** exponents)
    frequencies = 1.0 / (theta**exponents)
    match scaling:
        case None:
            return frequencies
        case LinearRopeScaling():
            return frequencies / scaling.factor
        case YarnRopeScaling():
            keep = _yarn_keep(width, theta, scaling)
        case Llama3RopeScaling():
            keep = _llama3_keep(frequencies, scaling)
    return frequencies * (keep + (1.0 - keep) / scaling.factor)


def _llama3_keep(frequencies: jax.Array, scaling: Llama3RopeScaling) -> jax.Array:
    # Wavelengths beyond the original context are stretched by `factor`, short ones kept, and
    # those between blended linearly in (context / wavelength).
    turns = scaling.original_max_position_embeddings * frequencies / (2 * jnp.pi)
    keep = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    return jnp.clip(keep, 0.0, 1.0)


def _yarn_keep(width: int, theta: float, scaling: YarnRopeScaling) -> jax.Array:
    def pair(turns: float) -> float:
        """The pair, as a fraction, that turns so often over the original context."""
        span = scaling.original_max_position_embeddings / (turns * 2 * math.pi)
        return width * math.log(span) / (2 * math.log(theta))

    low, high = pair(scaling.beta_fast or 32), pair(scaling.beta_slow or 1)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    high += 0.001 if low == high else 0.0
    ramp = (jnp.arange(width // 2, dtype=jnp.float32) - low) / (high - low)
    return 1.0 - jnp.clip(ramp, 0.0, 1.0)


def rotary_magnitude(scaling: RopeScaling | None) -> float:
    """Factor of cosines and sines: 1 but for YaRN, which sharpens the softmax with it."""
    if not isinstance(scaling, YarnRopeScaling):
        return 1.0
    if scaling.attention_factor is not None:
        return float(scaling.attention_factor)

    def magnitude(weight: float) -> float:
        return 1.0 if scaling.factor <= 1 else 0.1 * weight * math.log(scaling.factor) + 1.0

    if scaling.mscale and scaling.mscale_all_dim:
        return magnitude(scaling.mscale) / magnitude(scaling.mscale_all_dim)
    return magnitude(1.0)


def rotate(x: jax.Array, angles: jax.Array, magnitude: float = 1.0) -> jax.Array:
    """Rotates (batch, length, heads, head_dim) by (batch, length, head_dim / 2), in float32."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = jnp.cos(angles)[:, :, None, :], jnp.sin(angles)[:, :, None, :]
    if magnitude != 1.0:
        cos, sin = cos * magnitude, sin * magnitude
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(x.dtype)
