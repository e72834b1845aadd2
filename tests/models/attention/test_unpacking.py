"""Unpacking and repacking against a walk over the segments, and their transposes."""

import jax
import numpy as np
import pytest

from dignified_jax.models.attention.token_tree import TokenTree
from dignified_jax.models.attention.unpacking import Layout, repack, unpack

# Prompt start, prompt length, start, length; the second row has one example, then nothing.
SEGMENTS = np.array(
    [
        [(0, 0, 0, 3), (0, 3, 3, 2), (0, 3, 5, 4), (9, 0, 9, 1), (9, 1, 10, 5)],
        [(0, 0, 0, 2), (0, 2, 2, 6), (16, 0, 16, 0), (16, 0, 16, 0), (16, 0, 16, 0)],
    ]
)
TREE = TokenTree(np.zeros((2, 16), np.int32), SEGMENTS, prompt_block=4, segment_block=7)


def places(with_prompt):
    """(row, segment, position, token, whether it is the segment's own) of every copy."""
    for row, laid in enumerate(SEGMENTS):
        for segment, (prompt_start, prompt, start, size) in enumerate(laid):
            before = range(prompt_start, prompt_start + (prompt if with_prompt else 0))
            for position, token in enumerate([*before, *range(start, start + size)]):
                yield row, segment, position, token, position >= len(before)


@pytest.mark.parametrize("with_prompt", [True, False])
def test_every_token_goes_to_its_places_and_back(with_prompt):
    """And gradients come back along the same ways; whole numbers, so exactly."""
    layout = Layout.of(TREE, with_prompt=with_prompt)
    block = 11 if with_prompt else 7
    rng = np.random.default_rng(0)
    rows = rng.integers(-50, 50, (2, 16, 2)).astype(np.float32)
    unpacked = rng.integers(-50, 50, (2, 5, block, 2)).astype(np.float32)
    there, back = np.zeros_like(unpacked), np.zeros_like(rows)
    d_rows, d_unpacked = np.zeros_like(rows), np.zeros_like(unpacked)
    lengths = np.zeros((2, 5), int)
    for row, segment, position, token, own in places(with_prompt):
        lengths[row, segment] += 1
        there[row, segment, position] = rows[row, token]
        d_rows[row, token] += unpacked[row, segment, position]
        if own:
            back[row, token] = unpacked[row, segment, position]
            d_unpacked[row, segment, position] = rows[row, token]

    np.testing.assert_array_equal(layout.lengths, lengths)

    @jax.jit
    def both_ways(rows, unpacked):
        there, pull_there = jax.vjp(lambda x: unpack(x, layout), rows)
        back, pull_back = jax.vjp(lambda x: repack(x, layout), unpacked)
        return there, back, *pull_there(unpacked), *pull_back(rows)

    got = both_ways(rows, unpacked)
    for one, expected in zip(got, (there, back, d_rows, d_unpacked), strict=True):
        np.testing.assert_array_equal(one, expected)


def test_blocks_are_no_longer_than_a_row():
    """An example fits into its row, so that a long prompt does not make twice its length."""
    wide = TokenTree(TREE.visible_until, SEGMENTS, prompt_block=12, segment_block=12)
    assert Layout.of(wide, with_prompt=True).block == 16
    assert Layout.of(wide, with_prompt=False).block == 12
