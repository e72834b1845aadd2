"""Joining pairs: none is lost, and those that can share a row do."""

from collections import Counter, defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dignified_jax.data import DIMENSIONS, PreferenceRow
from dignified_jax.data.formats import joining
from dignified_jax.data.formats.joining import join
from dignified_jax.data.schema import Message

TURNS = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
PAIR = st.tuples(
    st.sampled_from(["p", "q", TURNS, '[["user", "a"], ["assistant", "b"], ["user", "c"]]']),
    st.sampled_from(["x", "y"]),
    st.sampled_from(DIMENSIONS),
)


def rows_of(pairs):
    return [
        PreferenceRow(prompt, golden, {name: f"r{n}"}, file="f", row=n, pairs={name: n})
        for n, (prompt, golden, name) in enumerate(pairs)
    ]


def joined_in_memory(rows):
    """The definition: the n-th pair of a key and dimension is in the key's n-th row."""
    found, counts = defaultdict(list), Counter()
    for row in rows:
        (name,) = row.rejects
        key = (row.prompt, row.golden)
        found[*key, counts[*key, name]].append(row)
        counts[*key, name] += 1
    return list(found.values())


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(pairs=st.lists(PAIR, max_size=40))
def test_no_pair_is_lost_and_rows_are_as_defined(pairs):
    rows = rows_of(pairs)
    made = list(join(rows))
    expected = joined_in_memory(rows)
    assert [row.row for row in made] == [group[0].row for group in expected]
    for row, group in zip(made, expected, strict=True):
        assert (row.prompt, row.golden) == (group[0].prompt, group[0].golden)
        assert row.rejects == {name: text for one in group for name, text in one.rejects.items()}
        assert row.pairs == {name: n for one in group for name, n in one.pairs.items()}
        assert list(row.rejects) == list(row.pairs) == list(row.mask)
    assert sum(len(row.rejects) for row in made) == len(pairs)


def test_rows_are_given_out_as_soon_as_they_are_whole():
    rows = rows_of([(f"p{n // 2}", "x", "AT"[n % 2]) for n in range(100)])
    read = []
    source = (read.append(row) or row for row in rows)
    numbers = joining._row_of_each(rows)
    for at, row in enumerate(joining._joined_in_order(source, numbers)):
        assert row.prompt == f"p{at}" and len(read) == 2 * at + 2
    np.testing.assert_array_equal(numbers, np.arange(100) // 2)
