"""Token ids of the cache, of processes and of the plain path are the same; what makes new ones."""

import dataclasses
import json
import os
import shutil
import warnings

import numpy as np
import pytest

from dignified_jax import data
from dignified_jax.data import tokenize
from dignified_jax.data.store import workers
from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.objectives import SFT
from dignified_jax.training.inputs import splits
from dignified_jax.training.inputs.data import prepare_data
from dignified_jax.training.run import fingerprint
from tests.oracles import tiny_run

NAMES = ("train", "validation", "test")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def config(root, cache, **changes):
    return tiny_run.config(root, "unused", data__cache=str(cache), **changes)


def prepared(config, workdir, notify=None):
    workdir.mkdir(exist_ok=True)
    return prepare_data(config, workdir, 2, notify)


def unread(*arguments):
    raise AssertionError("rows were read")


def check_same(one, two):
    """Everything that a run sees of its data."""
    assert list(one.streams) == list(two.streams)
    assert one.identity == two.identity and one.notes == two.notes
    assert list(one.train_prompts) == list(two.train_prompts)
    for name, stream in one.streams.items():
        other = two.streams[name]
        assert (stream.total_steps, stream.rows) == (other.total_steps, other.rows)
        for step in range(stream.total_steps):
            left, right = dataclasses.asdict(stream.batch(step)), other.batch(step)
            for field, value in left.items():
                np.testing.assert_array_equal(value, getattr(right, field), err_msg=field)


def check_plain(found, root, fraction=0.2, seed=0):
    """The examples are those of the public functions, one after the other, and so is the order."""
    tokenizer = load_tokenizer(root / "model")
    rows = data.read_rows(root / "train.jsonl")
    train, validation = data.split_validation(rows, fraction, seed)
    test = data.read_rows(root / "test.jsonl")
    for name, split in zip(NAMES, (train, validation, test), strict=True):
        examples, _ = data.encode(split, tokenizer)
        stream = data.BatchStream(
            examples,
            batch_size=3,
            row_length=tiny_run.ROW_LENGTH,
            rows_multiple=2,
            epochs=2 if name == "train" else 1,
            shuffle=name == "train",
        )
        mine = found.streams[name]
        for step in range(stream.total_steps):
            np.testing.assert_array_equal(stream.indices(step), mine.indices(step))
            used = stream.used_rows(step)
            left, right = stream.batch(step).tokens[:used], mine.batch(step).tokens[:used]
            np.testing.assert_array_equal(left, right)
        assert found.identity[f"{name} rows"] == fingerprint.of_rows(split)
        assert found.identity[f"{name} tokens"] == fingerprint.of_examples(examples)
    assert list(found.train_prompts) == [row.prompt for row in train]


@pytest.mark.parametrize("count", [1, 2])
def test_cold_and_warm_equal_the_plain_path(count, root, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenize, "ROWS_A_CALL", 2)
    monkeypatch.setattr(workers, "available", lambda items, each: count)
    cold = prepared(config(root, cache), tmp_path / "one")
    check_plain(cold, root)
    monkeypatch.setattr(splits, "read_splits", unread)
    warm = prepared(config(root, cache), tmp_path / "two")
    check_same(cold, warm)
    check_plain(warm, root)


def test_without_a_cache_nothing_is_kept(root, cache, tmp_path):
    check_plain(prepared(config(root, cache, data__cache_gib=0.0), tmp_path / "one"), root)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_told_and_not_needed(root, cache, tmp_path):
    cache.write_text("a file")
    told = []
    check_plain(prepared(config(root, cache), tmp_path / "one", told.append), root)
    assert told and all("can't be written" in line for line in told)


def test_a_damaged_entry_is_made_anew(root, cache, tmp_path):
    prepared(config(root, cache), tmp_path / "one")
    for file in cache.rglob("ids.bin"):
        content = bytearray(file.read_bytes())
        content[0] ^= 1
        file.write_bytes(content)
    told = []
    check_plain(prepared(config(root, cache), tmp_path / "two", told.append), root)
    assert sum("damaged" in line for line in told) == 3


def edit(name, change):
    def apply(root):
        path = root / name
        path.write_text(change(path.read_text()))

    return apply


def no_change(root):
    os.utime(root / "train.jsonl", (1, 1))


CHANGES = {
    "a text": (edit("train.jsonl", lambda t: t.replace("Load it", "Fill it", 1)), {}),
    "an order": (edit("test.jsonl", lambda t: "".join(reversed(t.splitlines(True)))), {}),
    "a template": (edit("model/chat_template.jinja", lambda t: t + "{# same #}"), {}),
    "arguments": (no_change, {"data__chat_template_kwargs": '{"x": 1}'}),
    "a tokenizer": (
        edit("model/tokenizer.json", lambda t: t.replace('"dropout": null', '"dropout": 0.0')),
        {},
    ),
    "a limit": (no_change, {"data__max_length": 79}),
    "a policy": (no_change, {"data__on_too_long": "drop"}),
    "the seed": (no_change, {"seed": 1}),
    "a share": (no_change, {"data__validation_fraction": 0.3}),
    "responses": (no_change, {"method": SFT()}),
}
KEPT = {
    "nothing": (no_change, {}),
    "the batch": (no_change, {"batch_size": 2, "epochs": 1}),
    "a group": (no_change, {"data__groups": ("Both:A+T",)}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_token_ids_depend_on_makes_new_ones(change, root, cache, tmp_path, monkeypatch):
    copy, fields = copied(root, tmp_path), CHANGES[change][1]
    prepared(config(copy, cache), tmp_path / "one")
    CHANGES[change][0](copy)
    reads = []
    read = splits.read_splits
    monkeypatch.setattr(
        splits, "read_splits", lambda *arguments: reads.append(1) or read(*arguments)
    )
    after = prepared(config(copy, cache, **fields), tmp_path / "two")
    assert reads == [1]
    fresh = prepared(config(copy, tmp_path / "other", **fields), tmp_path / "three")
    check_same(after, fresh)


@pytest.mark.parametrize("change", KEPT)
def test_what_token_ids_do_not_depend_on_keeps_them(change, root, cache, tmp_path, monkeypatch):
    copy = copied(root, tmp_path)
    prepared(config(copy, cache), tmp_path / "one")
    KEPT[change][0](copy)
    monkeypatch.setattr(splits, "read_splits", unread)
    prepared(config(copy, cache, **KEPT[change][1]), tmp_path / "two")


def copied(root, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copytree(root / "model", copy / "model")
    for name in ("train.jsonl", "test.jsonl"):
        shutil.copy(root / name, copy / name)
    return copy


def test_bad_rows_are_set_aside_in_every_run_directory(root, cache, tmp_path):
    """Those that can't be read, and those that the tokenizer can't write."""
    copy = copied(root, tmp_path)
    with (copy / "train.jsonl").open("a") as stream:
        good = json.loads((copy / "train.jsonl").read_text().splitlines()[0])
        stream.write(json.dumps(good | {"prompt": "Half", "golden": ""}) + "\n")
        stream.write(json.dumps(good | {"prompt": "A spelled <|im_end|> one"}) + "\n")
    template = copy / "model" / "chat_template.jinja"
    template.write_text(
        "{% if 'spelled' in messages[0].content %}{{ 1 // 0 }}{% endif %}" + template.read_text()
    )
    found = []
    for name in ("one", "two"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found.append(prepared(config(copy, cache, data__on_bad_row="skip"), tmp_path / name))
        assert any("were skipped" in str(each.message) for each in caught)
    check_same(*found)
    one, two = ((tmp_path / n / "rejected_train.jsonl").read_text() for n in ("one", "two"))
    assert one == two and [json.loads(line)["row"] for line in one.splitlines()] == [12, 13]
    lines = (copy / "train.jsonl").read_text().splitlines(keepends=True)
    (copy / "train.jsonl").write_text("".join(lines[:11]))
    for name in ("one", "two"):  # the second start reads no rows: their token ids are there
        prepared(config(copy, cache, data__on_bad_row="skip"), tmp_path / name)
        assert not (tmp_path / name / "rejected_train.jsonl").exists()


def test_bad_rows_stop_every_start(root, cache, tmp_path):
    copy = copied(root, tmp_path)
    with (copy / "train.jsonl").open("a") as stream:
        stream.write('{"prompt": "Half"}\n')
    for name in ("one", "two"):
        with pytest.raises(data.BadRowsError, match=r"train.jsonl:12: golden"):
            prepared(config(copy, cache), tmp_path / name)
    assert not list(cache.rglob("entry.json"))


def test_warnings_of_reading_are_told_at_every_start(root, cache, tmp_path):
    copy = copied(root, tmp_path)
    rows = [json.loads(line) | {"extra": 1} for line in (copy / "test.jsonl").open()]
    tiny_run.write_rows(copy / "test.jsonl", rows)
    for name in ("one", "two"):
        with pytest.warns(UserWarning, match=r"columns not used: \['extra'\]"):
            prepared(config(copy, cache), tmp_path / name)


def test_a_template_that_draws_random_numbers_is_not_cached(root, cache, tmp_path):
    copy = copied(root, tmp_path)
    template = copy / "model" / "chat_template.jinja"
    template.write_text(template.read_text() + "{# #}{% set x = [1, 2] | random %}")
    prepared(config(copy, cache), tmp_path / "one")
    assert not cache.exists()


def test_the_day_of_a_template_counts(root, cache, tmp_path):
    copy = copied(root, tmp_path)
    template = copy / "model" / "chat_template.jinja"
    template.write_text("{{ strftime_now('%Y-%m-%d') }}" + template.read_text())
    prepared(config(copy, cache, data__row_length=160), tmp_path / "one")
    run = tmp_path / "two"
    run.mkdir()
    for name in ("config.json", "metrics.jsonl"):
        (run / name).write_text("{}")
    (run / "inputs.json").write_text(json.dumps({"template date": "2024-07-26"}))
    later = prepared(config(copy, cache, data__row_length=160), run)
    tokens = later.streams["test"].batch(0).tokens
    assert "2024-07-26" in later.tokenizer.decode(tokens[0])


def test_rows_that_change_while_they_are_read_are_not_kept_as_the_former(
    root, cache, tmp_path, monkeypatch
):
    copy = copied(root, tmp_path)
    read = splits.read_splits

    def changed(*arguments):
        edit("train.jsonl", lambda t: t.replace("Load it", "Fill it", 1))(copy)
        return read(*arguments)

    before = (copy / "train.jsonl").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(splits, "read_splits", changed)
        prepared(config(copy, cache), tmp_path / "one")
    (copy / "train.jsonl").write_text(before)
    check_plain(prepared(config(copy, cache), tmp_path / "two"), root)


def test_anchors_and_hub_rows_are_read_and_tokenised_once(root, cache, tmp_path, monkeypatch):
    """Their content is known only after reading: the rows' own digest takes its place."""
    cold = prepared(config(root, cache), tmp_path / "one")
    monkeypatch.setattr(splits, "_part", lambda config, split, digests: None)
    one = prepared(config(root, cache), tmp_path / "two")
    encoded = []
    fill = splits.tokens.fill
    monkeypatch.setattr(splits.tokens, "fill", lambda *a: encoded.append(1) or fill(*a))
    two = prepared(config(root, cache), tmp_path / "three")
    check_same(cold, one)
    check_same(one, two)
    assert encoded == []
