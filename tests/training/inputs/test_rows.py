"""Rows of several sources: in which order, with which shares, and what is told of bad ones."""

import json

import numpy as np
import pytest

from dignified_jax import data
from dignified_jax.training import config as training_config
from dignified_jax.training.config import ConfigError
from dignified_jax.training.inputs.data import prepare_data
from dignified_jax.training.inputs.rows import files, read_splits


def rejects(name, count):
    return [
        {"prompt": f"{name} {n}?", "golden": "Yes.", "mask": ["A"], "reject_A": "No."}
        for n in range(count)
    ]


def pairs(name, count, **more):
    return [
        {"prompt": f"{name} {n}?", "chosen": "Yes.", "rejected": "No.", **more}
        for n in range(count)
    ]


def write(path, records):
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return str(path)


def both(tmp_path, first, second):
    counts = {"a": first, "b": second}
    return [write(tmp_path / f"{name}.jsonl", rejects(name, n)) for name, n in counts.items()]


def parse(tmp_path, **fields):
    config = training_config.config_dict("multi_negative")
    config.workdir = str(tmp_path / "run")
    config.batch_size, config.data.row_length = 4, 64
    for name, value in fields.items():
        config.data[name] = value
    return training_config.parse(config)


def test_sources_follow_each_other_and_each_row_is_used_once(tmp_path):
    sources = both(tmp_path, 3, 6)
    config = parse(tmp_path, train=sources, test=sources, validation_fraction=0.0)
    splits = read_splits(config, tmp_path)
    assert files(config.data) == tuple(sources)
    assert [(row.file, row.row) for row in splits.train] == [
        (file, row) for file, n in zip(sources, (3, 6), strict=True) for row in range(1, n + 1)
    ]
    assert list(splits.test) == list(splits.train)
    stream = prepare_data(config, tmp_path, 1).streams["train"]
    plain = np.random.default_rng([0, 1]).permutation(9)  # as of one source
    found = [stream.indices(step) for step in range(3, 6)]
    np.testing.assert_array_equal(np.concatenate(found), plain)


def test_weights_are_shares_of_an_epoch(tmp_path):
    sources = both(tmp_path, 4, 36)
    config = parse(
        tmp_path, train=tuple(sources), test=sources[0], weights=(3, 1), validation_fraction=0.0
    )
    prepared = prepare_data(config, tmp_path, 1)
    stream = prepared.streams["train"]
    for epoch in range(3):
        steps = range(epoch * stream.steps_per_epoch, (epoch + 1) * stream.steps_per_epoch)
        of = [prepared.train_prompts[i][0] for step in steps for i in stream.indices(step)]
        assert (of.count("a"), of.count("b")) == (30, 10)
    note = f"an epoch draws 30 of {sources[0]} (7.5 of its 4 examples), 10 of {sources[1]} (0.28"
    assert any(note in line for line in prepared.notes)


def test_a_source_that_is_never_drawn_is_told(tmp_path):
    sources = both(tmp_path, 4, 4)
    config = parse(tmp_path, train=sources, test=sources[0], weights=(1e-3, 1))
    with pytest.raises(ConfigError, match=r"data\.weights of .*a\.jsonl, .*: weights: expected at"):
        prepare_data(config, tmp_path, 1)


def test_bad_rows_of_all_sources_are_told(tmp_path):
    bad = [{**row, "golden": ""} for row in rejects("b", 2)]
    sources = [
        write(tmp_path / "a.jsonl", rejects("a", 2)),
        write(tmp_path / "b.jsonl", rejects("b", 1) + bad[1:]),
        write(tmp_path / "c.jsonl", bad[:1]),
    ]
    config = parse(tmp_path, train=sources, test=sources[0])
    with pytest.raises(data.BadRowsError) as caught:
        read_splits(config, tmp_path)
    found = [(problem.file, problem.row) for problem in caught.value.problems]
    assert found == [(sources[1], 2), (sources[2], 1)]
    with pytest.raises(ConfigError, match=r"data\.train must be distinct sources, found embedded:"):
        root = data.__file__.replace("data/__init__.py", "embedded/personaknob_mini/test.jsonl")
        train = ["embedded:personaknob_mini/test.jsonl", root]
        read_splits(parse(tmp_path, train=train, test=sources[0]), tmp_path)


def test_pairs_of_a_dimension_each(tmp_path):
    sources = [write(tmp_path / f"{name}.jsonl", pairs(name, 2)) for name in "ab"]
    named = write(tmp_path / "c.jsonl", pairs("c", 2, dimension="E"))
    fields = {"format": "pairs", "train": sources, "validation_fraction": 0.0}
    splits = read_splits(
        parse(tmp_path, **fields, test=[*reversed(sources)], dimension=("A", "T")), tmp_path
    )
    assert [row.mask for row in splits.train] == [("A",)] * 2 + [("T",)] * 2
    assert [row.prompt[0] + row.mask[0] for row in splits.test] == ["bA", "bA", "aT", "aT"]
    one = read_splits(parse(tmp_path, **fields, test=named, dimension=("C",)), tmp_path)
    assert {row.mask for row in one.train} == {("C",)} and one.test[0].mask == ("E",)
    config = parse(tmp_path, **fields, test=sources[0], dimension=("A", "T"))
    with pytest.raises(data.BadRowsError, match=r"a\.jsonl: dimension: .* data\.dimension for all"):
        read_splits(config, tmp_path)
