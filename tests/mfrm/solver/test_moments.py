"""Residuals, weights and skews are successive derivatives of the log-likelihood."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.mfrm.solver.blocks import as_blocks
from dignified_jax.mfrm.solver.moments import Parameters, log_likelihood, moments


def example(plan):
    models, questions, judges, items = plan[0].shape
    rng = np.random.default_rng(5)
    parameters = Parameters(
        theta=jnp.asarray(rng.normal(size=(models, questions))),
        question=jnp.asarray(rng.normal(size=questions)),
        raters=jnp.asarray(rng.normal(size=judges + items)),
        intercept=jnp.asarray(rng.normal(size=models)),
    )
    return as_blocks(*map(jnp.asarray, (plan[0].astype(float), plan[1].astype(float)))), parameters


def test_finite_differences(plan):
    with jax.enable_x64(True):
        blocks, parameters = example(plan)
        step = 1e-5

        def shifted(name, index, amount):
            value = getattr(parameters, name).at[index].add(amount)
            return dataclasses.replace(parameters, **{name: value})

        def central(function, name, index):
            up, down = (function(shifted(name, index, sign * step)) for sign in (1, -1))
            return (up - down) / (2 * step)

        value = jax.jit(functools.partial(log_likelihood, blocks))
        sums = jax.jit(functools.partial(moments, blocks, skew=True))

        here = sums(parameters)
        cell, judge, item = (2, 5), 1, 4  # rater 4 is the second item
        np.testing.assert_allclose(here.residual[cell], central(value, "theta", cell), rtol=1e-7)
        for rater in (judge, item):
            np.testing.assert_allclose(
                here.rater_residual[rater], central(value, "raters", rater), rtol=1e-7
            )
        # - d residual / d logit, seen by the cell, by a rater in the cell, by a pair.
        np.testing.assert_allclose(
            here.weight[cell], -central(lambda p: sums(p).residual[cell], "theta", cell), rtol=1e-7
        )
        np.testing.assert_allclose(
            here.rater_weight[2, judge, 5],
            -central(lambda p: sums(p).residual[cell], "raters", judge),
            rtol=1e-7,
        )
        np.testing.assert_allclose(
            here.pair_weight[judge, item - 3],
            -central(lambda p: sums(p).rater_residual[item], "raters", judge),
            rtol=1e-7,
        )
        np.testing.assert_allclose(
            here.rater_skew[2, judge, 5],
            central(lambda p: sums(p).rater_weight[2, judge, 5], "theta", cell),
            rtol=1e-6,
        )


def test_far_tails_keep_their_digits():
    """p within 1e-13 of 1: float32 residuals and weights to 1e-6 relative."""
    for sign in (1.0, -1.0):
        blocks = as_blocks(*jnp.ones((2, 1, 1, 1, 1), jnp.float32) * jnp.array(3.0))
        if sign < 0:
            blocks = dataclasses.replace(blocks, successes=0 * blocks.trials)
        one = jnp.zeros(1)
        at = Parameters(
            theta=jnp.full((1, 1), sign * 30.0), question=one, raters=jnp.zeros(2), intercept=one
        )
        sums = moments(blocks, at)
        np.testing.assert_allclose(sums.residual[0, 0], sign * 3 * np.exp(-30.0), rtol=1e-6)
        np.testing.assert_allclose(sums.weight[0, 0], 3 * np.exp(-30.0), rtol=1e-6)
        np.testing.assert_allclose(log_likelihood(blocks, at), -3 * np.exp(-30.0), rtol=1e-6)
