"""The marginal likelihood by adaptive Gauss-Hermite quadrature, and posteriors under it.

A question's ratings have the likelihood, with t_m = theta_mq + question_q and L_m of one cell,

    integral N(u; 0, 1/p_question) prod_m [ integral N(t - u; 0, 1/p_theta) L_m(t) dt ] du

Laplace's Gaussian at the mode has u ~ N(u^, 1/S) and t_m | u ~ N(t_m^ + kappa (u - u^), 1/D), so
that t_m has the variance s^2 = 1/D + kappa^2/S. What the likelihood has over it is a product of
exp r_m(t_m), with r_m cubic at t^, and is averaged over that Gaussian: u by K points u^ + v_l / S^½
and every t_m by K points t_m^ + s z_k, the SAME for all u, so that a pass costs K evaluations of
the ratings and not K^2. Standardised, u and t_m are correlated by a = kappa / (s S^½), and Mehler's
formula gives the weights of the inner rule: with h_n the normalised Hermite polynomials and w_k the
Gauss weights,

    E[f(z) | v_l] = sum_k W_kl f(z_k)      W_kl = w_k sum_{n < K} a^n h_n(z_k) h_n(v_l)

exact for polynomials f of degree below K: at a = 0 the plain Gauss rule, at a = 1 the value at v_l.
Naylor & Smith (1982) for adaptive quadrature; Liu & Pierce (1994) for its error.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.mfrm.result import Precision
from dignified_jax.mfrm.solver.blocks import Blocks
from dignified_jax.mfrm.solver.gauge import Design
from dignified_jax.mfrm.solver.likelihood import cell_sums, moments, steps_taken
from dignified_jax.mfrm.solver.moments import Parameters

POINTS = 7


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Posterior:
    """Random effects given the ratings, at K points each: l for the question, k for its cells.

    Attributes:
      center: parameters whose theta and question the points lie about.
      spread: (M, Q) s, of the cells' points.
      question_spread: (Q,) S^-½, 0 where anchored.
      question_weight: (K, Q) probabilities of the questions' points.
      cell_weight: (M, K, K, Q) of a cell's points k given the question's l; a few may be negative.
      rater_residual: (K, M, R, Q) at the cells' points; see `ordinal.cell_sums`.
      information: (2,) rough information on the log precisions of theta and questions.
      log_likelihood: scalar, marginal.
    """

    center: Parameters
    spread: jax.Array
    question_spread: jax.Array
    question_weight: jax.Array
    cell_weight: jax.Array
    rater_residual: jax.Array
    information: jax.Array
    log_likelihood: jax.Array

    def question(self) -> jax.Array:
        """(K, Q) points of the questions."""
        return self.center.question + rule(len(self.question_weight))[0][:, None].astype(
            self.spread.dtype
        ) * (self.question_spread)


def rule(points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K,) nodes and weights of the standard normal, and (K, K, K) w_k h_n(z_k) h_n(v_l)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    weights = weights / weights.sum()
    polynomial = [np.ones(points), nodes]
    for n in range(1, points - 1):
        polynomial.append(
            (nodes * polynomial[n] - np.sqrt(n) * polynomial[n - 1]) / np.sqrt(n + 1.0)
        )
    h = np.stack(polynomial[:points])
    return nodes, weights, (weights * h)[:, :, None] * h[:, None, :]


def posterior(
    blocks: Blocks,
    parameters: Parameters,
    precision: Precision,
    design: Design,
    points: int = POINTS,
) -> Posterior:
    """Posterior given the fixed effects; theta and question need only be near their modes.

    Args:
      blocks: the ratings.
      parameters: where to look; theta and question move by one Newton step.
      precision: of theta and question.
      design: which questions are free.
      points: K, odd.
    """
    nodes, weights, blend = (jnp.asarray(a, parameters.theta.dtype) for a in rule(points))
    sums = moments(blocks, parameters)
    curvature = sums.weight + precision.theta
    shrink, follow = precision.theta / curvature, sums.weight / curvature
    shared = (shrink * sums.weight).sum(axis=0)
    free = design.free_question
    inverse = jnp.where(free, 1.0 / (shared + precision.question), 0.0)
    penalty = precision.theta * parameters.theta
    carried = (shrink * sums.residual + follow * penalty).sum(axis=0)
    question = inverse * (carried - precision.question * parameters.question)
    theta = (sums.residual - penalty - sums.weight * question) / curvature
    center = dataclasses.replace(
        parameters, theta=parameters.theta + theta, question=parameters.question + question
    )
    question_spread = jnp.sqrt(inverse)
    spread = jnp.sqrt(1.0 / curvature + shrink**2 * inverse)
    correlation = shrink * question_spread / spread

    def at(node):
        return cell_sums(blocks, dataclasses.replace(center, theta=center.theta + spread * node))

    value, rater_residual = jax.lax.map(at, nodes)
    off = spread * nodes[:, None, None]
    excess = value - value[points // 2] + 0.5 * sums.weight * off**2
    excess = excess - precision.theta * center.theta * off
    powers = correlation[:, None] ** jnp.arange(points)[:, None]  # (M, n, Q)

    def inner(carry, block):
        excess, powers = block
        mass = jnp.tensordot(blend, powers, [[0], [0]], precision="highest")  # (k, l, Q)
        mass = mass * jnp.exp(excess)[:, None]
        total = jnp.maximum(mass.sum(axis=0), jnp.finfo(mass.dtype).tiny)
        return carry + jnp.log(total), mass / total

    pull = (precision.theta * center.theta).sum(axis=0) - precision.question * center.question
    start = jnp.log(weights)[:, None] + pull * question_spread * nodes[:, None]
    log_mass, cell_weight = jax.lax.scan(inner, start, (excess.swapaxes(0, 1), powers))
    total = jax.nn.logsumexp(log_mass, axis=0)

    gain = follow - precision.theta * follow**2 * inverse
    question_gain = jnp.where(free, shared * inverse, 0.0)
    centered = jnp.where(free, center.question, 0.0)
    prior = precision.theta * (center.theta**2).sum() + precision.question * (centered**2).sum()
    volume = jnp.log(shrink).sum()
    volume = volume + jnp.where(free, jnp.log(precision.question * inverse), 0.0).sum()
    steps = center.raters[blocks.judges + blocks.items :]
    return Posterior(
        center=center,
        spread=spread,
        question_spread=question_spread,
        question_weight=jnp.exp(log_mass - total),
        cell_weight=cell_weight,
        rater_residual=rater_residual,
        information=0.5 * jnp.stack([(gain**2).sum(), (question_gain**2).sum()]),
        log_likelihood=value[points // 2].sum()
        + (steps_taken(blocks) * steps).sum()
        + 0.5 * (volume - prior)
        + total.sum(),
    )
