"""Facets by name: parts by order, and what is refused."""

import numpy as np
import pytest

from dignified_jax import mfrm

pytestmark = pytest.mark.wiring

ROWS = {
    "writer": ["a", "b", "a", "b"],
    "task": [1, 1, 2, 2],
    "rater": ["x", "y", "y", "x"],
    "trait": ["p", "p", "q", "q"],
    "language": ["en", "fr", "fr", "en"],
    "score": [1, 0, 0, 1],
}


def test_parts_by_order():
    ratings = mfrm.from_long(ROWS, facets=("writer", "task", "rater"))
    assert ratings.trials.shape == (2, 2, 2, 1)
    assert ratings.labels["model"] == ("a", "b") and ratings.labels["rubric"] == (None,)
    assert ratings.names == {"model": "writer", "question": "task", "judge": "rater"}
    plain = mfrm.from_long(ROWS, model="writer", question="task", judge="rater", rubric=None)
    np.testing.assert_array_equal(ratings.successes, plain.successes)
    assert plain.names == {}


def test_two_facets_and_no_occasions():
    ratings = mfrm.from_long(ROWS, facets=("writer", "-", "rater"))
    assert ratings.trials.shape == (2, 1, 2, 1)
    assert ratings.names == {"model": "writer", "judge": "rater"}


def test_more_than_four_are_a_list():
    facets = ("writer", "task", "rater", "trait", "language")
    ratings = mfrm.from_long(ROWS, facets=facets)
    assert list(ratings.labels) == ["model", "question", "judge", "rubric", "language"]
    np.testing.assert_array_equal(ratings.extra["language"], [0, 1, 1, 0])
    assert ratings.categories is None
    ordinal = mfrm.from_long(ROWS | {"score": [3, 5, 3, 1]}, facets=facets, categories=(1, 5))
    assert ordinal.categories == (1, 3, 5)  # the grid that the scores lie on
    np.testing.assert_array_equal(ordinal.successes, [1, 2, 1, 0])
    np.testing.assert_array_equal(ordinal.extra["language"], ratings.extra["language"])


def test_four_facets_are_a_list_where_asked():
    facets = ("writer", "task", "rater", "trait")
    ratings = mfrm.from_long(ROWS, facets=facets, categories=(0, 1), sparse=True)
    assert isinstance(ratings, mfrm.SparseRatings) and ratings.extra == {}
    np.testing.assert_array_equal(ratings.successes, ROWS["score"])


@pytest.mark.parametrize(
    ("facets", "options", "message"),
    [
        (("writer",), {}, "at least two columns"),
        (("writer", "task", "writer"), {}, "'writer' twice"),
        (("writer", "task"), {"judge": "rater"}, "leave judge out"),
        (("writer", "task", "-"), {}, "only the second may be"),
        (("writer", "tusk"), {}, "has no column 'tusk'"),
        (("writer", "task", "rater", "trait", "language"), {"order": "task"}, "not kept in a list"),
    ],
)
def test_refusals(facets, options, message):
    with pytest.raises(ValueError, match=message):
        mfrm.from_long(ROWS, facets=facets, **options)
