"""Visible blocks and their masks against a dense mask, and the proven bound against many trees."""

import itertools

import jax
import numpy as np
import pytest

from dignified_jax.models.attention.visible_blocks import (
    MASKS_PER_BLOCK,
    VisibleBlocks,
    masks_suffice,
)

BLOCK, BLOCKS = 4, 24
LENGTH = BLOCK * BLOCKS


def row(examples, length=LENGTH):
    """(visible_until, (query, key) bool) of [(prompt length, response lengths), ...], then pads.

    The second is from the layout's meaning, not from the first.
    """
    until = np.arange(1, length + 1)
    seen = np.eye(length, dtype=bool)
    start = 0
    for prompt, responses in examples:
        spans = [(start, prompt)]
        for size in responses:
            spans.append((spans[-1][0] + spans[-1][1], size))
        end = sum(spans[-1])
        until[start : start + prompt] = end
        for number, (at, size) in enumerate(spans):
            seen[at : at + size, at : at + size] = np.tri(size, dtype=bool)
            if number:
                until[at : at + size] = at + size
                seen[at : at + size, start : start + prompt] = True
        start = end
    assert start <= length
    return until.astype(np.int32), seen


def random_row(rng, length=LENGTH, block=BLOCK):
    """From one long example to many tiny ones, often with boundaries at or beside a block's."""
    mean = np.exp(rng.uniform(0, np.log(length), 2))  # of prompts, of responses

    def size(mean, left):
        drawn = int(rng.exponential(mean)) + 1
        if rng.random() < 0.4:
            drawn = max(drawn // block * block + rng.integers(-1, 2), 1)
        return min(drawn, left)

    left, examples = length, []
    while left > 1 and rng.random() > 0.02:
        prompt = size(mean[0], left - 1)
        left -= prompt
        responses = []
        while left and len(responses) < rng.integers(1, 9):
            responses.append(size(mean[1], left))
            left -= responses[-1]
        examples.append((prompt, responses))
    return row(examples, length)


def blockwise(seen, block=BLOCK):
    """(query block, key block, block, block)."""
    blocks = len(seen) // block
    return seen.reshape(blocks, block, blocks, block).swapaxes(1, 2)


def partial_blocks(seen, block=BLOCK):
    """How many blocks are visible in part."""
    cut = blockwise(seen, block)
    return int((cut.any((2, 3)) & ~cut.all((2, 3))).sum())


def worst_row(blocks):
    """A prompt from the middle of block 0 to the middle of block 1, and responses of 8 blocks."""
    half = BLOCK // 2
    left = BLOCK * blocks - BLOCK - half
    return row([(1, [half - 1]), (BLOCK, [8 * BLOCK] * (left // (8 * BLOCK)))], BLOCK * blocks)


def rows(count):
    rng = np.random.default_rng(0)
    causal = np.full(LENGTH, LENGTH + 7, np.int32), np.tri(LENGTH, dtype=bool)
    return [causal, row([]), worst_row(BLOCKS), *(random_row(rng) for _ in range(count))]


@pytest.mark.parametrize("keys_outer", [False, True])
def test_the_dense_mask_can_be_put_together_from_the_blocks(keys_outer):
    """Exactly the blocks with a visible pair, once each and in order, each with its mask."""
    find = jax.jit(lambda until: VisibleBlocks.of(until, BLOCK, keys_outer=keys_outer))
    for until, seen in rows(40):
        found = jax.tree.map(np.asarray, find(until))
        expected = blockwise(seen.T if keys_outer else seen)
        at = np.argwhere(expected.any((2, 3)))
        assert found.count == len(at)
        listed = np.stack([found.outer, found.inner], axis=1)
        np.testing.assert_array_equal(listed[: len(at)], at)
        assert (listed[len(at) :] == -1).all()
        cut = expected[tuple(at.T)]
        full = found.full[: len(at)]
        np.testing.assert_array_equal(full, cut.all((1, 2)))
        assert found.masks.dtype == np.int8
        np.testing.assert_array_equal(found.masks[found.mask[: len(at)]][~full], cut[~full])
        # The masks are fetched one after another, each once.
        own = found.mask[: len(at)]
        np.testing.assert_array_equal(own[~full], np.arange((~full).sum()))
        np.testing.assert_array_equal(np.diff(own), ~full[:-1])


def test_no_tree_needs_more_masks_than_are_held():
    """Not more than 5 n - 4 in thousands of trees; one needs 4.7 n."""
    trees = rows(3000)
    needed = [partial_blocks(seen) for _, seen in trees]
    assert max(needed) <= MASKS_PER_BLOCK * BLOCKS - 4
    untils = np.stack([until for until, _ in trees])
    assert jax.jit(masks_suffice, static_argnums=1)(untils, BLOCK).all()
    assert partial_blocks(worst_row(256)[1]) > 4.6 * 256


def test_no_tree_of_nine_blocks_does():
    """All that begin their parts in the middle of blocks, where a boundary costs a mask."""
    needed = []
    for steps in itertools.product(("on", "response", "example"), repeat=8):
        examples = [[1]]
        for step in steps:
            if step == "on":
                examples[-1][-1] += 2
            elif step == "response":
                examples[-1].append(2)
            else:
                examples.append([2])
        examples[-1][-1] += 1
        _, seen = row([(prompt, responses) for prompt, *responses in examples], length=18)
        needed.append(partial_blocks(seen, block=2))
    assert 9 < max(needed) <= MASKS_PER_BLOCK * 9 - 4 < 9 * 10 // 2


def test_what_is_no_tree_is_told():
    """Keys that are visible until everywhere: all blocks below the diagonal are partial."""
    until = np.tile([LENGTH, 1], LENGTH // 2)
    until = np.maximum(until, np.arange(1, LENGTH + 1)).astype(np.int32)
    seen = np.tri(LENGTH, dtype=bool) & (np.arange(LENGTH)[:, None] < until)
    assert partial_blocks(seen) == BLOCKS * (BLOCKS + 1) // 2 > MASKS_PER_BLOCK * BLOCKS
    assert not masks_suffice(until[None], BLOCK).any()
