"""Random plans of one shape, so that programs compile once, and the reference data."""

import pathlib

import numpy as np
import pytest

from tests.mfrm.dense import simulate

SHAPE = (4, 8, 3, 2)
SHARED = pathlib.Path(__file__).parents[3] / "shared" / "data" / "ratings"


@pytest.fixture(scope="session")
def plans():
    """(successes, trials): missing ratings with repeats; steep effects with extreme cells."""
    return [
        simulate(SHAPE, 0, missing=0.4, most_trials=3),
        simulate(SHAPE, 1, missing=0.2, most_trials=1, spread=1.7),
    ]


@pytest.fixture(scope="session")
def plan(plans):
    return plans[0]


@pytest.fixture(scope="session")
def shared_ratings():
    """The directory of real ratings and reference estimates."""
    if not SHARED.exists():
        pytest.skip(f"needs the reference data in {SHARED}")
    return SHARED


def assert_fits_agree(fit, other, *, atol, errors=None, skip=()):
    """Every estimate within atol, every standard error within `errors` (default atol)."""
    for name in ("theta", "quality", "judge", "rubric", "question", "intercept", "score"):
        if name in skip:
            continue
        np.testing.assert_allclose(
            np.asarray(getattr(fit, name)),
            np.asarray(getattr(other, name)),
            atol=atol,
            rtol=0,
            err_msg=name,
        )
        np.testing.assert_allclose(
            np.asarray(getattr(fit.standard_error, name)),
            np.asarray(getattr(other.standard_error, name)),
            atol=atol if errors is None else errors,
            rtol=0,
            err_msg=f"standard error of {name}",
        )
    np.testing.assert_allclose(
        np.asarray(fit.score_covariance),
        np.asarray(other.score_covariance),
        atol=atol if errors is None else errors,
        rtol=0,
    )
