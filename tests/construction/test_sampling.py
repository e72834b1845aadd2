"""Plans of rows: exact shares at every length, and draws that later rows leave alone."""

import collections
import itertools

import pytest

from dignified_jax.construction import draws, sampling
from dignified_jax.construction.seeds import Seed
from dignified_jax.typed_config import ConfigError

DIMENSIONS = ("A", "T", "E", "C")
PAPER = ("2:54.5", "3:36.4", "4:9.1")


def seeds(names, number=7):
    return {
        name: [Seed(f"f:{at}", f"{name}{at}", "good") for at in range(number)] for name in names
    }


def plan(rows, mix=PAPER, names=DIMENSIONS, shots=2, seed=0):
    shares = sampling.parse_mix(mix, names)
    return list(itertools.islice(sampling.plans(shares, seeds(names), shots, seed), rows))


@pytest.mark.parametrize("rows", [1, 7, 110, 1000])
def test_shares_are_as_exact_as_whole_rows_allow(rows):
    counts = collections.Counter(len(each.mask) for each in plan(rows))
    for size, share in ((2, 0.545), (3, 0.364), (4, 0.091)):
        assert abs(counts[size] - rows * share) < 1.5


def test_masks_paradigms_and_sides_are_balanced():
    found = plan(1100)
    masks = collections.Counter(each.mask for each in found)
    for size in (2, 3):
        of_size = [n for mask, n in masks.items() if len(mask) == size]
        assert max(of_size) - min(of_size) <= 1
    assert len(masks) == 6 + 4 + 1
    paradigms = collections.Counter(each.paradigm for each in found)
    assert abs(paradigms["selection"] - 550) <= 2
    for name in DIMENSIONS:
        sides = [each.longer[name] for each in found if name in each.mask]
        assert abs(2 * sum(sides) - len(sides)) <= 1


def test_more_rows_begin_with_fewer_and_seeds_differ():
    assert plan(60)[:20] == plan(20)
    assert plan(20, seed=1) != plan(20)
    for each in plan(50, shots=3):
        assert set(each.seeds) == set(each.mask) == set(each.longer)
        assert all(len(set(found)) == 3 for found in each.seeds.values())
    assert all(len(s) == 7 for each in plan(3, shots=20) for s in each.seeds.values())


def test_any_mix_of_any_dimensions():
    names = ("safety", "tone", "brevity")
    found = plan(40, ("1:1", "tone+safety:3"), names)
    masks = collections.Counter(each.mask for each in found)
    assert masks["safety", "tone"] == 30  # in the order of the dimensions
    assert sorted(masks[name,] for name in names) == [3, 3, 4]


@pytest.mark.parametrize("entry", ["5:1", "0:1", "A+X:1", "A+A:1", "2", "2:0", "2:nan", "2:inf"])
def test_wrong_mixes_are_told(entry):
    with pytest.raises(ConfigError, match="mix: expected"):
        sampling.parse_mix((entry,), DIMENSIONS)
    with pytest.raises(ConfigError, match="once"):
        sampling.parse_mix(("2:1", "2:1"), DIMENSIONS)


def test_a_provider_that_leaves_gives_up_its_own_draws_alone():
    names = ("a", "b", "c")
    before = [draws.choose(names, 0, row) for row in range(3000)]
    after = [draws.choose(names[:2], 0, row) for row in range(3000)]
    assert all(x == y for x, y in zip(before, after, strict=True) if x != "c")
    assert all(900 < before.count(name) < 1100 for name in names)
