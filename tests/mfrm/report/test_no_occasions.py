"""Writers by raters, without occasions: what a report says where no effect is random."""

import warnings

import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.report.report import report, summary

pytestmark = pytest.mark.wiring


@pytest.fixture(scope="module")
def rows():
    """Scores of 1 to 4; writer 0 has nothing but 4, and one rating is given again a day later."""
    rng = np.random.default_rng(3)
    made = [
        {"writer": f"w{w}", "rater": f"r{r}", "score": int(rng.integers(1, 5)), "day": 1}
        for w in range(8)
        for r in range(5)
    ]
    made = [row | ({"score": 4} if row["writer"] == "w0" else {}) for row in made]
    return [*made, made[7] | {"day": 2}]


def _ratings(rows, **further):
    return mfrm.from_long(rows, facets=("writer", "-", "rater"), categories=(1, 4), **further)


def test_nothing_is_said_of_what_is_not_there(rows):
    ratings = _ratings(rows, order="day")
    fit = mfrm.fit(ratings.counts, model="rating_scale")
    about = mfrm.diagnose(fit, ratings.counts, categories=ratings.categories)
    found = report(fit, about, ratings)
    told = summary(found)
    assert "no occasions: writer, rater are all fixed effects (joint maximum likelihood)" in told
    assert not any("prior" in line or "question" in line or "answer" in line for line in told)
    # An ordinal scale has no successes.
    assert any("only highest or only lowest scores" in line for line in told)
    assert any(line.endswith("Extreme: writer w0 (all highest).") for line in told)
    words = {w for t in found.tables for w in t.columns.get("extreme", ()) if isinstance(w, str)}
    assert words == {"", "all highest", "all lowest", "all highest, adjusted"}


def test_one_question_has_no_variance_at_its_bound(rows):
    ratings = _ratings([row for row in rows if row["writer"] != "w0"], order="day")
    assert mfrm.fit(ratings.counts, model="rating_scale").status == mfrm.Status.CONVERGED


def test_a_rating_of_another_time_is_no_copy(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _ratings(rows, order="day")
    with pytest.warns(UserWarning, match="1 of 41 rows repeat"):
        _ratings(rows)
