"""Standard errors and the covariance of scores, from the selected inverse of the arrow.

With G (P, Q) the response of the questions to the border, V the border's covariance and U the
questions' own inverse block,

    theta_mq responds by    [-w_mq / D, -f e_m] - f G_q     and varies by  1/D + f^2 U_qq  besides
    intercept_m by          e_m + mean G                                   mean U
    question_q by           G_q - mean G                                   (C U C)_qq, C centring

and what is varied by besides is shared as U says: with t_q = mean_q' U_qq', intercept and theta_mq
covary by -f t_q. The means are those of the change to zero-sum questions, and 0 where questions
do not change their gauge. f cancels from quality = intercept + theta: [-w / D, kappa e_m].
Random questions are centred in questions and qualities only: their intercepts respond by e_m.
No cell costs more than R^2 operations.
"""

from __future__ import annotations

import dataclasses

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.result import StandardErrors
from dignified_jax.mfrm.solver.arrow import Arrow, solve_questions
from dignified_jax.mfrm.solver.gauge import Design
from dignified_jax.mfrm.solver.marginal import MarginalSearch
from dignified_jax.mfrm.solver.moments import Parameters
from dignified_jax.mfrm.solver.observed_information import gram, over_points
from dignified_jax.mfrm.solver.quadrature import by_model, effects, rule


def standard_errors(arrow: Arrow, design: Design) -> tuple[StandardErrors, jax.Array]:
    """Standard errors of every effect, and the (M, M) covariance of the scores."""
    raters, questions = design.raters, float(design.free_question.size)
    covariance = design.to_zero_sum(design.to_zero_sum(arrow.covariance).T)
    inverse, pull, follow = arrow.question_inverse, arrow.question_pull, arrow.follow
    response = -solve_questions(arrow, arrow.coupling)  # G
    moved = 1.0 if design.zero_sum_question else 0.0
    intercept_moved = 1.0 if design.reference_question else 0.0
    mean_response = moved * response.mean(axis=1)
    shared = moved * solve_questions(arrow, xp.ones_like(inverse)) / questions  # t
    carried = xp.einsum("pr,rq->pq", covariance, response)
    mean_carried = xp.einsum("pr,r->p", covariance, mean_response)
    base = (mean_response * mean_carried).sum() + shared.mean()
    own = inverse * (1.0 - inverse * pull)  # U_qq
    follower = own + (response * carried).sum(axis=0)
    # What a question and the mean question have in common.
    common = shared + xp.einsum("pq,p->q", response, mean_carried)
    intercept = xp.diag(covariance)[raters:]

    def one_model(model):
        weights, curvature, shrink, follow, intercept, across, carried_own, mean_own = model
        share = weights / curvature
        carried_share = xp.einsum("rs,sq->rq", covariance[:raters, :raters], share)
        by_raters = (share * carried_share).sum(axis=0)
        by_intercept = xp.einsum("r,rq->q", across, share)
        by_question = (share * carried[:raters]).sum(axis=0)
        by_mean = shrink * mean_own - xp.einsum("r,rq->q", mean_carried[:raters], share)

        def variance(own: jax.Array) -> jax.Array:
            """(Q,), with `own` the response to the model's own intercept."""
            border = by_raters - 2.0 * own * by_intercept + own**2 * intercept
            cross = own * carried_own - by_question
            return 1.0 / curvature + border - 2.0 * follow * cross + follow**2 * follower

        with_mean = base + 2.0 * (by_mean - follow * common)
        return variance(-follow), variance(shrink) + with_mean, share.mean(axis=1)

    theta, quality, mean_share = xp.each(
        one_model,
        (
            arrow.moments.rater_weight,
            arrow.curvature,
            arrow.shrink,
            follow,
            intercept,
            covariance[raters:, :raters],
            carried[raters:],
            mean_carried[raters:],
        ),
    )
    # Of a question, a score takes the mean over questions less f times it: kappa, nothing lost.
    own_question = arrow.shrink if design.zero_sum_question else -follow
    path = xp.concatenate([-mean_share, xp.diag(arrow.shrink.mean(axis=1))], axis=1)
    path = path + xp.einsum("mq,pq->mp", own_question, response) / questions
    pulled = xp.einsum("mq,q->m", own_question, inverse)
    score = (
        xp.einsum("mp,pr,nr->mn", path, covariance, path)
        + xp.diag((1.0 / arrow.curvature).mean(axis=1) / questions)
        + xp.einsum("mq,nq->mn", own_question * inverse, own_question) / questions**2
        - pull * xp.outer(pulled, pulled) / questions**2
    )
    rater_error = _root(xp.diag(covariance)[:raters])
    errors = StandardErrors(
        theta=_root(theta),
        quality=_root(quality),
        judge=rater_error[: design.judges],
        rubric=rater_error[design.judges : design.mains],
        step=_as_sets(rater_error[design.mains :], design),
        question=_root(follower - 2.0 * common + base),
        intercept=_root(intercept + intercept_moved * (2.0 * mean_carried[raters:] + base)),
        score=_root(xp.diag(score)),
    )
    return errors, score


def marginal_standard_errors(
    search: MarginalSearch, design: Design
) -> tuple[StandardErrors, Parameters, jax.Array]:
    """Standard errors, posterior means, and the (M, M) covariance of the scores, by quadrature.

    An effect x with a posterior mean E x that depends on the border and log precisions b has

        var x = Var(x | ratings, b) + d' V d        d = d E x / d b = Cov(x, s)

    with V the covariance of b (Kass & Steffey, 1989): variances that were estimated do not count
    as known.

    Means follow the search's last step by d, which leaves an error of the second order in it.

    Args:
      search: whose covariance is V.
      design: free levels and constraints.
    """
    found, precision = search.posterior, search.posterior_precision
    covariance, step, score = search.covariance, search.step, search.question_score
    raters, judges = design.raters, design.judges
    questions = found.question_spread.size
    moved = 1.0 if design.zero_sum_question else 0.0
    question = found.question()
    weight = found.question_weight
    question_mean = over_points(weight, question)
    off = weight * (question - question_mean)

    question_variance = over_points(off, question - question_mean)
    shift_variance = moved * question_variance.mean() / questions
    question_slope = over_points(off, score)
    shift_slope = moved * question_slope.mean(axis=1)
    nodes = xp.asarray(rule(found.cell_weight.shape[1])[0], covariance.dtype)[:, None]
    places = xp.eye(len(found.spread), len(covariance), raters, dtype=covariance.dtype)

    def by_cell(slope: jax.Array) -> jax.Array:
        """(Q,) d' V d of (P + 2, Q) slopes."""
        return xp.leading_sum(slope * xp.einsum("ij,jq->iq", covariance, slope))

    # In two passes: within one XLA would compute the first one's arrays for each use anew.
    def own(block):
        cell = effects(*block, found, precision)
        inside = nodes * over_points(weight, cell.weight)
        inside = inside - over_points(weight * cell.powers[0], cell.weight)
        by_precision = over_points(weight, cell.slope_moments()[2])
        variance = over_points(weight, cell.variance())
        return cell.mean(), variance, cell.spread * inside, by_precision

    def with_others(block):
        place, residual, given, alone, inside, by_precision = block
        by_rater = sum(inside[point] * residual[:, point] for point in range(len(inside)))
        mean = over_points(weight, given)
        variance = alone + over_points(weight, (given - mean) ** 2)
        slope = over_points(weight * (given - mean), score)
        slope = xp.add_at(slope, slice(raters), by_rater)
        slope = xp.add_at(slope, -2, by_precision)
        slope = slope + place[:, None] * xp.leading_sum(by_rater[:judges])
        # Of theta; and of the quality, whose slope is that and the same everywhere.
        error = by_cell(slope)
        same = place + shift_slope
        same_error = covariance @ same
        along, moves = xp.einsum("ip,pq->iq", xp.stack([same_error, step]), slope)
        quality = variance + 2.0 * moved * over_points(off, given) / questions + shift_variance
        with_question = given + moved * question
        return (
            mean + moves,
            variance + error,
            quality + error + 2.0 * along + same @ same_error,
            same + slope.mean(axis=1),
            with_question - over_points(weight, with_question),
            alone.sum(),
        )

    rows = (places, found.rater_residual, *xp.each(own, by_model(found)))
    theta, theta_variance, quality, slope, apart, alone = xp.each(with_others, rows)
    within = gram(weight * apart, apart) + xp.diag(alone)
    score_covariance = within / questions**2 + xp.einsum("mi,ij,nj->mn", slope, covariance, slope)
    diagonal = _root(xp.diag(covariance))
    errors = StandardErrors(
        theta=_root(theta_variance),
        quality=_root(quality),
        judge=diagonal[:judges],
        rubric=diagonal[judges : design.mains],
        step=_as_sets(diagonal[design.mains : raters], design),
        question=_root(
            question_variance * (1.0 - 2.0 * moved / questions)
            + shift_variance
            + by_cell(shift_slope[:, None] - question_slope)
        ),
        intercept=diagonal[raters:-2],
        score=_root(xp.diag(score_covariance)),
    )
    question_mean = question_mean + question_slope.T @ step
    means = dataclasses.replace(search.parameters, theta=theta, question=question_mean)
    return errors, means, score_covariance


def _as_sets(steps: jax.Array, design: Design) -> jax.Array | None:
    return steps.reshape(design.scales, design.steps) if design.scales else None


def _root(variance: jax.Array) -> jax.Array:
    """Square root; rounding may leave a variance that is 0 on paper just below it."""
    return xp.sqrt(xp.maximum(variance, 0.0))
