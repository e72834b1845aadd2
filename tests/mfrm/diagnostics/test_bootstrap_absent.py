"""Replicates without ratings of some judge: refitted without that judge, on one scale."""

import importlib

import jax
import numpy as np
import pytest

from dignified_jax import mfrm

pytestmark = pytest.mark.wiring

module = importlib.import_module("dignified_jax.mfrm.diagnostics.bootstrap")


def test_absent_judges_are_left_out_of_a_replicate():
    """Judge 2 rated one question of 12, and is absent from a third of the samples."""
    rng = np.random.default_rng(0)
    trials = np.ones((3, 12, 3, 2), int)
    trials[:, 1:, 2] = 0
    successes = rng.integers(0, 2, trials.shape) * trials
    with jax.enable_x64(True):
        whole = mfrm.fit(successes, trials, method="laplace")
        found = mfrm.bootstrap(successes, trials, replicates=8, seed=1, method="laplace")
        draws = module.samples(12, 8, 1)
        absent = ~(draws == 0).any(axis=1)
        assert 0 < absent.sum() < 8 and found.incomplete == absent.sum()
        for draw, gone, score in zip(draws, absent, found.score, strict=True):
            if gone and np.isfinite(score).all():
                drawn = [array[:, draw, :2] for array in (successes, trials)]
                alone = mfrm.fit(*drawn, method="laplace")
                shift = float(np.mean(whole.judge[:2]))
                np.testing.assert_allclose(score, alone.score + shift, atol=1e-6)
    assert found.failed == 0 and np.isfinite(found.standard_error).all()
