"""Subsets of a design against the rank of its explicit main-effects matrix."""

import numpy as np
import pytest

from dignified_jax import mfrm
from tests.mfrm.conftest import SHAPE

pytestmark = pytest.mark.wiring

FACETS = ("model", "question", "judge", "rubric")


def comparable(trials, facet, first, second, anchored=()):
    """Whether the difference of two levels lies in the row space of the design."""
    sizes = trials.shape
    offsets = np.cumsum((0, *sizes))
    rows = np.zeros((int((trials > 0).sum()), offsets[-1]))
    for row, index in zip(rows, np.argwhere(trials > 0), strict=True):
        row[offsets[:-1] + index] = 1
    known = [offsets[FACETS.index(f)] + level for f, level in anchored]
    contrast = np.zeros(offsets[-1])
    contrast[offsets[FACETS.index(facet)] + first] = 1
    contrast[offsets[FACETS.index(facet)] + second] = -1
    rows = np.concatenate([rows, np.eye(offsets[-1])[known]])
    return np.linalg.matrix_rank(rows) == np.linalg.matrix_rank(np.vstack([rows, contrast]))


def assert_right(trials, anchored=()):
    known = {facet: np.zeros(trials.shape[i], bool) for i, facet in enumerate(FACETS)}
    for facet, level in anchored:
        known[facet][level] = True
    found = mfrm.subsets(trials, known)
    for facet, size in zip(FACETS, trials.shape, strict=True):
        groups = found.get(facet, [list(range(size))])
        assert sorted(level for group in groups for level in group) == list(range(size))
        assert facet not in found or len(groups) > 1
        group_of = {level: i for i, group in enumerate(groups) for level in group}
        for first in range(size):
            for second in range(first):
                expected = comparable(trials, facet, first, second, anchored)
                assert (group_of[first] == group_of[second]) == expected, (facet, first, second)
    return found


def test_random_sparse_designs_against_rank():
    rng = np.random.default_rng(0)
    kinds = []
    for _ in range(200):
        trials = (rng.random((3, 4, 3, 2)) < rng.choice([0.12, 0.16, 0.3])).astype(int)
        if all(trials.any(axis=tuple({0, 1, 2, 3} - {axis})).all() for axis in range(4)):
            kinds.append(bool(assert_right(trials)))
    assert sum(kinds) > 10 and len(kinds) - sum(kinds) > 10


def blocks_design():
    """Judges 0, 1 rate models 0, 1 on even questions; judge 2 the others on odd ones."""
    trials = np.zeros(SHAPE, int)
    trials[:2, ::2, :2] = 1
    trials[2:, 1::2, 2:] = 1
    return trials


def test_two_blocks_are_listed_and_refused():
    trials = blocks_design()
    found = assert_right(trials)
    assert found["judge"] == [[0, 1], [2]] and found["model"] == [[0, 1], [2, 3]]
    assert "rubric" not in found
    successes = np.random.default_rng(0).binomial(trials, 0.6)
    with pytest.raises(mfrm.DisconnectedError, match=r"judge: 0, 1 \| 2") as error:
        mfrm.fit(successes, trials)
    assert error.value.subsets == found
    assert mfrm.fit(successes, trials, method="ridge", allow_disconnected=True).converged
    # Laplace has no prior to join them with, and says so.
    fit = mfrm.fit(successes, trials, allow_disconnected=True, method="laplace")
    assert fit.status == mfrm.Status.SINGULAR


def test_the_severity_that_only_the_prior_sets():
    """Why they are refused: the weaker the ridge, the further a judge drifts."""
    trials = blocks_design() * 3
    rng = np.random.default_rng(1)
    successes = rng.binomial(trials, np.where(np.arange(3) == 2, 0.2, 0.8)[:, None])
    severity = [
        float(
            mfrm.fit(
                successes,
                trials,
                center="grand",
                precision=mfrm.Precision(1.0, ridge, 1.0, 1.0),
                allow_disconnected=True,
            ).judge[2]
        )
        for ridge in (3.0, 1e-4)
    ]
    assert abs(severity[1] - severity[0]) > 0.3
    # One model that all judges rate on one question is a bridge.
    trials[0, 0] = 3
    assert assert_right(trials) != {} and "judge" not in mfrm.subsets(trials)


def test_anchors_join_subsets():
    trials = blocks_design()
    anchored = [("judge", 0), ("judge", 2)]
    found = assert_right(trials, anchored)
    assert "judge" not in found and "model" in found


def test_rotating_judges_are_connected():
    """One judge a cell, in turn: nothing is shared within cells, everything across them."""
    trials = np.zeros(SHAPE, int)
    for model in range(4):
        for question in range(8):
            trials[model, question, (model + question) % 3] = 1
    assert assert_right(trials) == {}
