"""The embedded data set and model are what their README says."""

import collections
import pathlib

import jax
import numpy as np
import pytest

from dignified_jax import data
from dignified_jax.embedded import resolve
from dignified_jax.models import hf


@pytest.fixture(scope="module")
def splits():
    names = ("train", "test")
    return {n: data.read_rows(resolve(f"embedded:personaknob_mini/{n}.jsonl")) for n in names}


def test_split_sizes_and_pairs(splits):
    assert (len(splits["train"]), len(splits["test"])) == (156, 40)
    for rows in splits.values():
        counts = collections.Counter(d for row in rows for d in row.mask)
        assert all(counts[d] >= 20 for d in data.DIMENSIONS)
        sizes = collections.Counter(len(row.mask) for row in rows)
        for size, share in ((2, 0.545), (3, 0.364), (4, 0.091)):
            assert abs(sizes[size] / len(rows) - share) < 0.025


@pytest.mark.parametrize("unit", ["characters", "words", "tokens"])
def test_length_is_no_shortcut(unit, splits, tiny_tokenizer):
    measure = {
        "characters": len,
        "words": lambda text: len(text.split()),
        "tokens": lambda text: len(tiny_tokenizer(text)["input_ids"]),
    }[unit]
    for rows in splits.values():
        for dimension in data.DIMENSIONS:
            pairs = [(r.golden, r.rejects[dimension]) for r in rows if dimension in r.mask]
            signs = [np.sign(measure(golden) - measure(reject)) for golden, reject in pairs]
            assert 0.4 <= (np.mean(signs) + 1) / 2 <= 0.6


def test_no_prompt_or_reply_occurs_twice(splits):
    texts = [
        text
        for rows in splits.values()
        for row in rows
        for text in (row.prompt, row.golden, *row.rejects.values())
    ]
    assert len(set(texts)) == len(texts)
    goldens = [row.golden for rows in splits.values() for row in rows]
    openings = collections.Counter(" ".join(text.split()[:3]).lower() for text in goldens)
    assert max(openings.values()) <= 3


def test_tokenizer_is_the_one_of_the_training_rows(splits, tiny_tokenizer, tmp_path):
    from dignified_jax.data.train_tokenizer import train_tokenizer

    texts = [
        text
        for row in splits["train"]
        for text in (row.prompt, row.golden, *(row.rejects[d] for d in row.mask))
    ]
    train_tokenizer(texts, 2048, tmp_path)
    embedded = pathlib.Path(resolve("embedded:tiny-qwen3"))
    made, kept = (d / "tokenizer.json" for d in (tmp_path, embedded))
    assert made.read_bytes() == kept.read_bytes()


def test_model_size(tiny_directory):
    model, params = hf.load(tiny_directory)
    assert model.config.architecture == "Qwen3ForCausalLM"

    assert 2e6 < sum(leaf.size for leaf in jax.tree.leaves(params)) < 4e6
    assert hf.stored_dtype(tiny_directory) == "bfloat16"
