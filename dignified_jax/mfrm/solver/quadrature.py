"""The marginal likelihood by adaptive Gauss-Hermite quadrature, and posteriors under it.

A question's ratings have the likelihood, with t_m = theta_mq + question_q and L_m of one cell,

    integral N(u; 0, 1/p_question) prod_m [ integral N(t - u; 0, 1/p_theta) L_m(t) dt ] du

A Gaussian near the posterior (Laplace's, at first; then one with the posterior's means and the
variances of t_m given u, as Naylor & Smith 1982 have it) has u ~ N(u^, 1/S) and
t_m | u ~ N(t_m^ + kappa (u - u^), 1/D), so that t_m has the variance s^2 = 1/D + kappa^2/S. What
the likelihood has over it is a product of exp r_m(t_m), and is averaged over that Gaussian: u by L
points u^ + v_l / S^½ and every t_m by K points t_m^ + s z_k, the SAME for all u, so that a pass
costs K evaluations of the ratings and not K^2. Standardised, u and t_m are correlated by
a = kappa / (s S^½), and Mehler's formula gives the weights of the inner rule. With h_n the
normalised Hermite polynomials and w_k the weights of Gauss,

    E[f(z) | v_l] = sum_k W_kl f(z_k)      W_kl = w_k sum_{n < K} a^n h_n(z_k) h_n(v_l)

exact for polynomials f of degree below K: at a = 0 the plain Gauss rule, at a = 1 the value at v_l.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.result import Precision
from dignified_jax.mfrm.solver.blocks import Blocks
from dignified_jax.mfrm.solver.gauge import Design
from dignified_jax.mfrm.solver.likelihood import cell_sums, steps_taken
from dignified_jax.mfrm.solver.moments import Parameters

POINTS = 7
# Many answers make a question's posterior, which is nearer to a Gaussian.
QUESTION_POINTS = 5


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Posterior:
    """Random effects given the ratings, at L points of a question and K of each of its cells.

    Attributes:
      center: parameters whose theta and question the points lie about.
      spread: (M, Q) s, of the cells' points.
      question_spread: (Q,) S^-½, 0 where anchored.
      question_weight: (L, Q) probabilities of the questions' points.
      cell_weight: (M, K, L, Q) of a cell's points k given the question's l; a few may be negative.
      rater_residual: (M, R, K, Q) at the cells' points; see `ordinal.cell_sums`.
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
        """(L, Q) points of the questions."""
        return self.center.question + rule(len(self.question_weight))[0][:, None].astype(
            self.spread.dtype
        ) * (self.question_spread)


class Effects(NamedTuple):
    """A model's cells at the points of its `Posterior`, theta being offset + spread z_k there.

    Attributes:
      weight: (K, L, Q) of k given l.
      residual: (R, K, Q) of the raters at k.
      offset: (L, Q) theta at l and the middle point.
      spread: (Q,).
      powers: (4, L, Q) means of z, z^2, z^3 and z^4 given l.
      precision: scalar p of theta.
    """

    weight: jax.Array
    residual: jax.Array
    offset: jax.Array
    spread: jax.Array
    powers: jax.Array
    precision: jax.Array

    def mean(self) -> jax.Array:
        """(L, Q) of theta given l."""
        return self.offset + self.spread * self.powers[0]

    def variance(self) -> jax.Array:
        """(L, Q) likewise."""
        return self.spread**2 * (self.powers[1] - self.powers[0] ** 2)

    def slope_moments(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(L, Q) means and mean squares of 1/2 - p theta^2 / 2, the derivative by log p, and its
        covariances with theta, given l."""
        e, p = self.offset, self.precision
        first, second, third, fourth = (
            self.spread**j * power for j, power in enumerate(self.powers, 1)
        )
        square = e * (e + 2.0 * first) + second
        quartic = e**2 * (e * (e + 4.0 * first) + 6.0 * second) + 4.0 * e * third + fourth
        mean_square = 0.25 * (1.0 - 2.0 * p * square + p**2 * quartic)
        covariance = 2.0 * e * (second - first**2) + third - first * second
        return 0.5 * (1.0 - p * square), mean_square, -0.5 * p * covariance


@functools.cache
def rule(points: int) -> tuple[np.ndarray, np.ndarray]:
    """(points,) nodes and weights of the standard normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    return nodes, weights / weights.sum()


@functools.cache
def blend(points: int, question_points: int) -> np.ndarray:
    """(n, k, l) w_k h_n(z_k) h_n(v_l), n < K, of K points z and L points v."""
    nodes, weights = rule(points)
    both = np.concatenate([nodes, rule(question_points)[0]])
    h = [np.ones_like(both), both]
    for n in range(1, points - 1):
        h.append((both * h[n] - np.sqrt(n) * h[n - 1]) / np.sqrt(n + 1.0))
    own, question = np.split(np.stack(h[:points]), [points], axis=1)
    return (weights * own)[:, :, None] * question[:, None, :]


def posterior(
    blocks: Blocks,
    center: Parameters,
    weight: jax.Array,
    precision: Precision,
    design: Design,
    points: int = POINTS,
    question_points: int = QUESTION_POINTS,
) -> Posterior:
    """Posterior given the fixed effects.

    Args:
      blocks: the ratings.
      center: the fixed effects; theta and questions near the middle of their posterior.
      weight: (M, Q) about what the ratings add to the precision of a cell's theta, at least 0.
      precision: of theta and question.
      design: which questions are free.
      points: K, odd.
      question_points: L.
    """
    dtype = center.theta.dtype
    nodes = xp.asarray(rule(points)[0], dtype)
    question_nodes, question_mass = (xp.asarray(a, dtype) for a in rule(question_points))
    inner_rule = xp.asarray(blend(points, question_points).reshape(points, -1), dtype)
    curvature = weight + precision.theta
    shrink, follow = precision.theta / curvature, weight / curvature
    shared = (shrink * weight).sum(axis=0)
    free = design.free_question
    inverse = xp.where(free, 1.0 / (shared + precision.question), 0.0)
    question_spread = xp.sqrt(inverse)
    spread = xp.sqrt(1.0 / curvature + shrink**2 * inverse)
    correlation = shrink * question_spread / spread

    off = spread[:, None] * nodes[:, None]
    value, rater_residual = cell_sums(blocks, center, center.cell()[:, None] + off)
    highest = value[:, points // 2]
    excess = value - highest[:, None] + 0.5 * weight[:, None] * off**2
    excess = excess - (precision.theta * center.theta)[:, None] * off
    powers = correlation[:, None] ** xp.arange(points)[:, None]  # (M, n, Q)

    def inner(carry, block):
        excess, powers = block
        mass = xp.einsum("nk,nq->kq", inner_rule, powers)
        mass = mass.reshape(points, question_points, -1)
        mass = mass * excess[:, None]
        # Positive wherever the points are well placed.
        total = xp.maximum(xp.leading_sum(mass), 1e-3 * xp.leading_sum(xp.abs(mass)))
        return carry + xp.log(total), mass / total

    pull = (precision.theta * center.theta).sum(axis=0) - precision.question * center.question
    start = xp.log(question_mass)[:, None] + pull * question_spread * question_nodes[:, None]
    log_mass, cell_weight = xp.scan(inner, start, (xp.exp(excess), powers))
    total = xp.logsumexp(log_mass)

    gain = follow - precision.theta * follow**2 * inverse
    question_gain = xp.where(free, shared * inverse, 0.0)
    centered = xp.where(free, center.question, 0.0)
    prior = precision.theta * (center.theta**2).sum() + precision.question * (centered**2).sum()
    volume = xp.log(shrink).sum()
    volume = volume + xp.where(free, xp.log(precision.question * inverse), 0.0).sum()
    steps = center.raters[blocks.judges + blocks.items :]
    return Posterior(
        center=center,
        spread=spread,
        question_spread=question_spread,
        question_weight=xp.exp(log_mass - total),
        cell_weight=cell_weight,
        rater_residual=rater_residual,
        information=0.5 * xp.stack([(gain**2).sum(), (question_gain**2).sum()]),
        log_likelihood=highest.sum()
        + (steps_taken(blocks) * steps).sum()
        + 0.5 * (volume - prior)
        + total.sum(),
    )


def effects(
    weight: jax.Array,
    residual: jax.Array,
    theta: jax.Array,
    spread: jax.Array,
    found: Posterior,
    precision: Precision,
) -> Effects:
    """Effects of one model, whose parts of `found` these are."""
    nodes = rule(len(weight))[0]
    powers = xp.asarray(nodes ** np.arange(1, 5)[:, None], theta.dtype)
    offset = theta - (found.question() - found.center.question)
    means = xp.einsum("jk,kq->jq", powers, weight.reshape(len(weight), -1))
    means = means.reshape(-1, *offset.shape)
    return Effects(weight, residual, offset, spread, means, precision.theta)


def by_model(found: Posterior) -> tuple[jax.Array, ...]:
    """Leaves that a scan over models needs for `effects`."""
    return found.cell_weight, found.rater_residual, found.center.theta, found.spread


def means_given_question(cell: Effects) -> jax.Array:
    """(R, L, Q) of the raters' scores, given the question."""
    # Term by term: XLA's reduction of a product whose factors are both broadcast goes wrong on CPUs
    # in float32 beyond about 1,500 questions (jax 0.10.2), and is slower.
    points = range(len(cell.weight))
    return sum(cell.weight[k] * cell.residual[:, k, None] for k in points)
