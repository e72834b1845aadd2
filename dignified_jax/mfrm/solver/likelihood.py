"""The sums over ratings that fits need, of binary or of ordinal ratings."""

from __future__ import annotations

import jax

from dignified_jax.mfrm.solver import moments as binary
from dignified_jax.mfrm.solver import ordinal
from dignified_jax.mfrm.solver.blocks import Blocks
from dignified_jax.mfrm.solver.moments import Moments, Parameters


def moments(blocks: Blocks, parameters: Parameters, *, skew: bool = False) -> Moments:
    """Sums at the given parameters; `skew`: whether the skews are wanted as well."""
    kind = ordinal if blocks.scales else binary
    return kind.moments(blocks, parameters, skew=skew)


def log_likelihood(blocks: Blocks, parameters: Parameters) -> jax.Array:
    """Scalar, at the given parameters."""
    kind = ordinal if blocks.scales else binary
    return kind.log_likelihood(blocks, parameters)
