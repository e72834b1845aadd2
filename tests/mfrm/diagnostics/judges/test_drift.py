"""Drift against SciPy's optimum, roots and loops; a planted one."""

import jax
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from dignified_jax import mfrm
from dignified_jax.mfrm.diagnostics.judges.drift import drift
from dignified_jax.mfrm.input.order import RatingOrder

pytestmark = pytest.mark.wiring

CATEGORY = np.arange(4)


@pytest.fixture(scope="module")
def ordered(by_hand):
    """The ratings as rows with times, some equal, one without."""
    rng = np.random.default_rng(2)
    time = rng.permutation(len(by_hand)) // 2 * 10.0
    time[5] = np.nan
    places = np.array([place for place, *_ in by_hand])
    index = dict(zip(("model", "question", "judge", "rubric"), places.T, strict=True))
    score = np.array([k for _, k, _, _ in by_hand])
    return RatingOrder("when", index, score, np.ones(len(score), int), time)


def test_lines_parts_and_tests(judged, by_hand, ordered):
    fit, _, _ = judged
    with jax.enable_x64(True):
        found = drift(fit, ordered)
    passed = np.concatenate([[0], np.cumsum(fit.step[0])])

    def chances(x):
        weight = np.exp(np.multiply.outer(x, CATEGORY) - passed)
        return weight / weight.sum(axis=-1, keepdims=True)

    for judge in range(4):
        rows = [n for n, (place, *_) in enumerate(by_hand) if place[2] == judge]
        rows = np.array([n for n in rows if np.isfinite(ordered.time[n])])
        x = np.array([by_hand[n][2] for n in rows])
        k = np.array([by_hand[n][1] for n in rows])
        t = (scipy.stats.rankdata(ordered.time[rows]) - 1) / (rows.size - 1)
        assert found.count[judge] == rows.size

        def loss(line, x=x, k=k, t=t):
            return -np.log(chances(x + line[0] + line[1] * t)[np.arange(k.size), k]).sum()

        best = scipy.optimize.minimize(loss, [0, 0], method="BFGS", options={"gtol": 1e-8})
        np.testing.assert_allclose(found.drift[judge], -best.x[1], atol=1e-5)
        h = scipy.optimize.approx_fprime(
            best.x, lambda b, f=loss: scipy.optimize.approx_fprime(b, f, 1e-5), 1e-4
        )
        np.testing.assert_allclose(
            found.standard_error[judge], np.sqrt(np.linalg.inv(h)[1, 1]), rtol=1e-2
        )
        p = chances(x)
        residual = k - p @ CATEGORY
        variance = p @ CATEGORY**2 - (p @ CATEGORY) ** 2
        away = t - variance @ t / variance.sum()
        z = -(residual @ away) / np.sqrt(variance @ away**2)
        np.testing.assert_allclose(found.z[judge], z, atol=1e-9)
        np.testing.assert_allclose(found.p[judge], 2 * scipy.stats.norm.sf(abs(z)), atol=1e-9)
        for part in range(4):
            own = np.minimum((4 * t).astype(int), 3) == part
            if not 0 < k[own].sum() < 3 * own.sum():
                continue
            bias = scipy.optimize.brentq(
                lambda b, own=own, x=x, k=k: (k[own] - chances(x[own] + b) @ CATEGORY).sum(),
                -14,
                14,
            )
            np.testing.assert_allclose(found.severity[judge, part], fit.judge[judge] - bias)
    assert found.without_time == 1


@pytest.mark.slow
def test_from_a_table_with_dates(tmp_path):
    """Ten days; the second judge grows harsher by about 3 logits, the first does not."""
    rng = np.random.default_rng(0)
    rows = ["model,question,judge,rubric,score,day"]
    for m, q, j, i in np.ndindex(4, 30, 2, 3):
        day = rng.integers(10)
        chance = 1 / (1 + np.exp(-(0.5 - j * 3.0 * (day / 9 - 0.5))))
        rows.append(f"m{m},q{q},j{j},r{i},{int(rng.random() < chance)},2026-01-{day + 1:02}T08:00")
    path = tmp_path / "r.csv"
    path.write_text("\n".join(rows) + "\n")
    ratings = mfrm.from_long(path, order="day")
    fit = mfrm.fit(ratings.successes, ratings.trials, method="laplace")
    found = drift(fit, ratings.order)
    assert abs(found.drift[0]) < 3 * found.standard_error[0] + 0.5
    assert 1.5 < found.drift[1] < 4.5 and found.q[1] < 1e-6
    assert found.severity[1, 0] < found.severity[1, 3]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1", "soon"], r"day must be a number or a date .* row 2 \(found 'soon'\)"),
        (["1", "2026-01-01"], r"day holds dates and numbers.* row 1"),
    ],
)
def test_bad_orders_are_refused(values, message):
    table = {"model": ["a", "b"], "question": [1, 1], "score": [0, 1], "day": values}
    with pytest.raises(ValueError, match=message):
        mfrm.from_long(table, judge=None, rubric=None, order="day")
