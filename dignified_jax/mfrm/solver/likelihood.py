"""The sums over ratings that fits need, of binary or of ordinal ratings."""

from __future__ import annotations

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.solver import moments as binary
from dignified_jax.mfrm.solver import ordinal
from dignified_jax.mfrm.solver.blocks import Blocks
from dignified_jax.mfrm.solver.moments import Moments, Parameters


def moments(blocks: Blocks, parameters: Parameters, *, skew: bool = False) -> Moments:
    """Sums at the given parameters; `skew`: whether the skews are wanted as well."""
    kind = ordinal if blocks.scales else binary
    return kind.moments(blocks, parameters, skew=skew)


def cell_sums(
    blocks: Blocks, parameters: Parameters, cells: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(M, K, Q) log-likelihoods and (M, R, K, Q) raters' residuals at (M, K, Q) parts of the logit
    that the ratings of a cell share; see `ordinal` for what they omit."""
    kind = ordinal if blocks.scales else binary
    return kind.cell_sums(blocks, parameters, cells)


def mean_weights(
    blocks: Blocks, parameters: Parameters, cells: jax.Array, chances: jax.Array
) -> tuple[jax.Array, ...]:
    """Weights by pair (J, I), by rater (M, R) and by model (M,), averaged over (M, K, Q) logits of
    the cells, of which `chances` are the probabilities; of ordinal ratings the steps' as well."""
    kind = ordinal if blocks.scales else binary
    return kind.mean_weights(blocks, parameters, cells, chances)


def steps_taken(blocks: Blocks) -> jax.Array:
    """(T,) what `cell_sums` omits of the steps' residuals, over all cells; empty if binary."""
    return ordinal.steps_taken(blocks) if blocks.scales else xp.zeros(0, blocks.trials.dtype)


def log_likelihood(blocks: Blocks, parameters: Parameters) -> jax.Array:
    """Scalar, at the given parameters."""
    kind = ordinal if blocks.scales else binary
    return kind.log_likelihood(blocks, parameters)
