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
    ratings = mfrm.from_long(ROWS, facets=facets, sparse=True)
    assert list(ratings.labels) == ["model", "question", "judge", "rubric", "language"]
    np.testing.assert_array_equal(ratings.extra["language"], [0, 1, 1, 0])
    with pytest.raises(ValueError, match="lists of ratings, and with them more than four facets"):
        mfrm.from_long(ROWS, facets=facets, sparse=True, categories=(0, 1))
    with pytest.raises(ValueError, match="5 facets: more than 4 are fitted as a list of yes/no"):
        mfrm.from_long(ROWS, facets=facets)


@pytest.mark.parametrize(
    ("facets", "options", "message"),
    [
        (("writer",), {}, "at least two columns"),
        (("writer", "task", "writer"), {}, "'writer' twice"),
        (("writer", "task"), {"judge": "rater"}, "leave judge out"),
        (("writer", "task", "-"), {}, "only the second may be"),
        (("writer", "tusk"), {}, "has no column 'tusk'"),
    ],
)
def test_refusals(facets, options, message):
    with pytest.raises(ValueError, match=message):
        mfrm.from_long(ROWS, facets=facets, **options)
