"""Residuals, weights and skews are successive derivatives of the log-likelihood."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.solver.blocks import as_blocks
from dignified_jax.mfrm.solver.moments import (
    Parameters,
    cell_sums,
    log_likelihood,
    mean_weights,
    moments,
)


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


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("most_trials", [1, 3])
def test_cells_at_points(most_trials, single):
    """Against plain logs and probabilities, by NumPy in slices of questions and by XLA in float32;
    judges and items lie far from 0, where the parts of a logit are moved together."""
    rng = np.random.default_rng(2)
    shape = models, questions, judges, items = 2, 1504, 3, 4
    trials = rng.integers(0, most_trials + 1, shape).astype(float)
    successes = np.floor(trials * rng.uniform(0, 1.5, shape)).clip(0, trials)
    at = Parameters(
        theta=np.zeros((models, questions)),
        question=np.zeros(questions),
        raters=np.concatenate([60.0 + rng.normal(size=judges), rng.normal(size=items)]),
        intercept=np.zeros(models),
    )
    cells = rng.normal(-60.0, 2.0, (models, 5, questions))
    chances = rng.uniform(size=cells.shape)
    x = cells[..., None, None] + (at.raters[:judges, None] + at.raters[judges:])
    p = 1 / (1 + np.exp(-x))
    y, n = (array[:, None] for array in (successes, trials))
    value = (y * np.log(p) + (n - y) * np.log1p(-p)).sum(axis=(-2, -1))
    residual = y - n * p
    residual = np.concatenate([residual.sum(axis=-1), residual.sum(axis=-2)], axis=-1)
    weight = (chances[..., None, None] * n * p * (1 - p)).sum(axis=(1, 2))
    by_rater = np.concatenate([weight.sum(axis=2), weight.sum(axis=1)], axis=1)
    expected = (value, np.moveaxis(residual, -1, 1), weight.sum(axis=0), by_rater)

    def sums(blocks, at, cells, chances):
        return *cell_sums(blocks, at, cells), *mean_weights(blocks, at, cells, chances)

    with xp.on_host(not single):
        blocks = as_blocks(successes, trials)
        given = jax.tree.map(
            lambda leaf: np.float32(leaf) if single else leaf, (at, cells, chances)
        )
        if single:
            blocks = jax.tree.map(lambda leaf: leaf.astype(np.float32), blocks)
        found = (jax.jit(sums) if single else sums)(blocks, *given)
    for one, other in zip(found, expected, strict=False):
        # Logits near 60 have seven digits.
        tolerance = {"rtol": 2e-5, "atol": 2e-4} if single else {"rtol": 1e-11, "atol": 1e-11}
        np.testing.assert_allclose(one, other, **tolerance)
    np.testing.assert_allclose(found[4], weight.sum(axis=(1, 2)), rtol=1e-4)


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
