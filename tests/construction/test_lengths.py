"""The length baseline: what is asked for again, and what is set aside."""

import itertools
import random

import pytest

from dignified_jax.construction import lengths

NAMES = ("A", "T")


def draw(rows, bias, seed=0):
    generator = random.Random(seed)
    return {
        at: {"golden": 100, "A": 90 if generator.random() < bias else 110, "T": 101 - 2 * (at % 2)}
        for at in range(rows)
    }


def accuracy(rows, name):
    pairs = [(row["golden"], row[name]) for row in rows if name in row]
    return sum((g > n) + 0.5 * (g == n) for g, n in pairs) / len(pairs)


def test_excess_is_what_is_beyond_the_bounds():
    assert lengths.excess([0.5] * 11 + [-0.5] * 9) == 0  # 0.55
    assert lengths.excess([0.5] * 12 + [-0.5] * 8) == pytest.approx(1, abs=1e-6)  # 0.6
    assert lengths.excess([0.5] * 8 + [-0.5] * 12) == pytest.approx(-1, abs=1e-6)
    assert lengths.excess([0.0] * 9) == 0
    assert lengths.excess([0.5]) == 0  # of one pair nothing better is to be had
    assert lengths.excess([0.5] * 2) > 0


@pytest.mark.parametrize("bias", [0.9, 0.1, 0.5])
def test_those_asked_again_bring_it_within_bounds(bias):
    rows = draw(200, bias)
    again = lengths.wrong_side(rows, list(range(100, 200)), NAMES)
    assert all(name == "A" and row >= 100 for row, name in again)
    for row, name in again:
        rows[row][name] = 210 - rows[row][name] - 10  # the other side
    assert 0.449 <= accuracy(rows.values(), "A") <= 0.551
    if again:  # one less would not have done
        row, name = again[-1]
        rows[row][name] = 200 - rows[row][name]
        assert not 0.45 <= accuracy(rows.values(), "A") <= 0.55


def test_only_fresh_rows_are_asked_again():
    assert lengths.wrong_side(draw(50, 1.0), [48, 49], NAMES) == [(49, "A"), (48, "A")]


def test_as_few_rows_as_can_be_are_set_aside():
    rows = draw(14, 0.8, seed=3)
    gone = lengths.surplus(rows)

    def within(left):
        return all(
            lengths.excess([lengths.margins(row)[name] for row in left]) == 0 for name in NAMES
        )

    assert gone
    assert within([row for at, row in rows.items() if at not in gone])
    for fewer in itertools.combinations(rows, len(gone) - 1):
        assert not within([row for at, row in rows.items() if at not in fewer])
    assert lengths.surplus({at: row for at, row in rows.items() if at not in gone}) == []


def test_targets_are_on_the_side_that_is_asked_for():
    for golden, row in itertools.product((1, 2, 10, 150), range(20)):
        assert lengths.target(golden, True, row) > golden
        shorter = lengths.target(golden, False, row)
        assert shorter == max(1, min(shorter, golden - 1))
    aims = [lengths.target(100, True, row) for row in range(200)]
    assert min(aims) >= 106
    assert max(aims) <= 125
    assert lengths.MEASURES["characters"](["日本語"]) == [3]
