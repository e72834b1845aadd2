"""Near-duplicates, one by one and by candidates."""

import difflib
import random

import pytest

from dignified_jax.construction import duplicates
from dignified_jax.construction.duplicates import TextIndex
from tests.oracles.writer_server import prose

TEXT = "My neighbour says that the fence is mine to repair. Is it, and what do I tell him?"


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (TEXT, True),
        (TEXT.upper() + "!!", True),
        (TEXT.replace("fence", "hedge"), True),
        (
            "Is it, and what do I tell him? My neighbour says that the fence is mine to repair.",
            True,
        ),
        ("My sister says that the car is hers to sell. What should I answer her tonight?", False),
    ],
)
def test_alike(other, found):
    assert (duplicates.alike(TEXT, other) >= 0.85) == found
    for many in (0, 10):  # by candidates, and one by one
        index = TextIndex(0.85, many)
        index.add("x", "Something else altogether that nobody would ask.")
        index.add("key", TEXT)
        assert index.find(other) == ("key" if found else None)
        assert index.find(other, besides="key") is None


def test_similarity_is_that_of_words_in_order():
    first, second = "the cat sat on the mat", "on the mat the dog sat"
    words = [" ".join(sorted(text.split())) for text in (first, second)]
    blocks = difflib.SequenceMatcher(None, *words, autojunk=False).get_matching_blocks()
    common = sum(block.size for block in blocks)  # a common subsequence, maybe not the longest
    least = 2 * common / sum(map(len, words))
    assert least <= duplicates.alike(first, second) <= least + 0.1
    assert duplicates.alike("", "") == 1.0


def test_candidates_find_what_comparing_all_finds():
    draw = random.Random(5391)
    texts = [prose(40, "row", at) for at in range(120)]
    near = []
    for text in texts[:40]:
        words = text.split()
        words[draw.randrange(40)] = "changed"
        near.append(" ".join(words))
    slow, fast = TextIndex(0.9, 1000), TextIndex(0.9, 50)
    for at, text in enumerate(texts):
        slow.add(at, text)
        fast.add(at, text)
    assert [slow.find(text) for text in near] == list(range(40))
    assert [fast.find(text) for text in near] == list(range(40))
    assert fast.find(prose(40, "new")) is None


def test_a_key_that_is_added_again_is_replaced():
    for many in (0, 10):
        index = TextIndex(0.85, many)
        index.add(1, TEXT)
        index.add(2, "Quite another text, about nothing in particular, for company.")
        index.add(1, "The row was written anew and asks about boats and tides instead.")
        assert index.find(TEXT) is None


def test_of_equal_texts_the_same_one_is_found_in_every_process(monkeypatch):
    index = TextIndex(0.85, many=0)
    for key in ("first", "second"):
        index.add(key, TEXT)
    for order in (["first", "second"], ["second", "first"]):  # as a set has them
        monkeypatch.setattr(index._hashes, "query", lambda _, order=order: order)
        assert index.find(TEXT) == "second"
