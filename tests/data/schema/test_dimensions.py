"""Named groups of dimensions: what is read, and what is refused."""

import pytest

from dignified_jax.data import DIMENSIONS
from dignified_jax.data.schema import find_dimensions, parse_groups

LONG = ("kindness", "humor", "a-b")
GROUPS = {"Warm": ("kindness", "humor")}


def test_the_default_groups_are_of_the_default_set():
    assert parse_groups((), DIMENSIONS) == {"Peer": ("E", "C"), "Dignity": ("A", "T")}
    assert parse_groups((), LONG) == {}
    assert parse_groups(("Social:C+A",), DIMENSIONS) == {"Social": ("A", "C")}
    assert parse_groups(("Warm:humor + kindness",), LONG) == GROUPS


@pytest.mark.parametrize(
    "entries, found",
    [
        (("Warm",), "expected NAME:DIMENSION"),
        (("Warm:",), "expected NAME:DIMENSION"),
        ((":humor",), "expected names of 1 to 64"),
        (("a/b:humor",), "expected names of 1 to 64"),
        (("Warm:humor", "warm:kindness"), "'warm' is the name of another group"),
        (("Humor:kindness",), "'Humor' is the name of another group or of a dimension"),
        (("Warm:wit",), "distinct names out of kindness, humor, a-b"),
        (("Warm:humor+humor",), "distinct names"),
        (("Warm:humor+",), "distinct names"),
    ],
)
def test_bad_groups(entries, found):
    with pytest.raises(ValueError, match=f"^groups: .*{found}"):
        parse_groups(entries, LONG)


@pytest.mark.parametrize(
    "text, dimensions",
    [
        ("Warm", ("kindness", "humor")),
        ("a-b", ("a-b",)),
        ("a-b+kindness", ("kindness", "a-b")),
    ],
)
def test_finding_dimensions(text, dimensions):
    assert find_dimensions(text, LONG, GROUPS) == dimensions


def test_letters_in_a_row_and_texts_that_name_nothing():
    assert find_dimensions("EC", DIMENSIONS, {}) == ("E", "C")
    assert find_dimensions("EC", ("EC", "E", "C"), {}) == ("EC",)  # the whole name first
    for text in ("AX", "AA", "", "A+X", "A+A"):
        with pytest.raises(ValueError, match=r"^groups: expected distinct names out of A, T, E, C"):
            find_dimensions(text, DIMENSIONS, {})
