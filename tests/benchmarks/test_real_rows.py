"""Rows of the comparison on a real model: splits, conflicts, and the figures of their pairs."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.real import __main__ as command
from benchmarks.real import paired, rows, scoring
from dignified_jax import data
from dignified_jax.data import DIMENSIONS

pytestmark = pytest.mark.wiring

SIZES = rows.Sizes(max_length=256, train=12, validation=4, test=6, sentence=3)
SENTENCE, OTHER = "one two three four", "five six seven"


def single(dimension, prompt, golden=SENTENCE, reject=OTHER):
    return data.PreferenceRow(prompt, golden, {dimension: reject}, context="given")


def many(prefix, count=12):
    return [single(k, f"{prefix} {k} {number}") for k in DIMENSIONS for number in range(count)]


def written(file, given):
    lines = [json.dumps(rows._record(row)) + "\n" for row in given]
    file.write_text("".join(lines), encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def parts(tiny_tokenizer, tmp_path_factory):
    """Splits of 48 rows for training and 8 for the test, one of whose prompts both have."""
    place = tmp_path_factory.mktemp("rows")
    shared = single("A", "Tested A 0", golden="of training")
    train = written(place / "train.jsonl", [*many("Given"), shared])
    test = written(place / "test.jsonl", many("Tested", 2))
    return rows.split([train], [test], tiny_tokenizer, SIZES)


def test_no_prompt_is_in_two_splits(parts):
    prompts = {name: {row.prompt for row in own} for name, own in parts.items()}
    assert not prompts["train"] & prompts["validation"]
    assert not prompts["test"] & (prompts["train"] | prompts["validation"])
    # Those of the test file, also where a training row has one, and more that are held out.
    assert {p for p in prompts["test"] if p.startswith("Tested")}
    assert {p for p in prompts["test"] if p.startswith("Given")}
    assert "of training" not in {row.golden for row in (*parts["train"], *parts["validation"])}
    assert len(parts["train"]) == SIZES.train
    for name in ("validation", "test"):
        firsts = [rows.first(row) for row in parts[name]]
        assert 0 < max(map(firsts.count, DIMENSIONS)) <= getattr(SIZES, name)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_the_dial_is_the_share_of_sentences_that_are_opposed(share, expected):
    given = [single("A", f"p{number}") for number in range(4)]
    given += [single("A", "word", reject="No."), single("E", "of E")]
    found = rows.with_conflict(given, rows.Conflict(share=share), SIZES)
    assert found[: len(given)] == given
    added = found[len(given) :]
    assert len(added) == expected
    by_prompt = {row.prompt: row for row in given}
    for row in added:
        partner = by_prompt[row.prompt]
        assert (row.golden, row.rejects) == (partner.rejects["A"], {"E": partner.golden})
        assert row.context == rows.OPPOSING_CONTEXT


def test_two_dimensions_can_oppose_a_third_each_on_the_same_rows():
    given = [single("T", f"p{number}") for number in range(8)] + many("Given", 1)
    conflict = rows.Conflict("T", ("E", "C"), 0.5)
    added = rows.with_conflict(given, conflict, SIZES)[len(given) :]
    of_kind = {k: [row for row in added if k in row.rejects] for k in DIMENSIONS}
    assert {k: len(own) for k, own in of_kind.items()} == {"A": 0, "T": 0, "E": 4, "C": 4}
    assert [row.prompt for row in of_kind["E"]] == [row.prompt for row in of_kind["C"]]
    assert all((row.golden, *row.rejects.values()) == (OTHER, SENTENCE) for row in added)
    ratios = np.arange(len(given) * 5, dtype=float).reshape(-1, 5)
    found = scoring.arranged(ratios, given, [*given, *added])
    for row, values in zip(added, found[len(given) :], strict=True):
        at = next(n for n, one in enumerate(given) if one.prompt == row.prompt)
        place = 1 + DIMENSIONS.index(next(iter(row.rejects)))
        assert (values[0], values[place]) == (ratios[at, 2], ratios[at, 0])
        assert np.count_nonzero(values) == np.count_nonzero([ratios[at, 2], ratios[at, 0]])
    names = list(paired.measures(conflict))
    assert names[3:5] == ["worst of T, E, C, accuracy", "worst of T, E, C, loss"]
    assert names[5:] == [f"accuracy of {name}" for name in "TEC"]


@pytest.mark.parametrize("flag", ["A", "A:", ":E", "A:A", "T:CC", "T:X", "TE:C"])
def test_a_conflict_that_is_none_is_refused(flag, tmp_path):
    place = ["--out", str(tmp_path), "--train", "t.jsonl", "--model", "m", "--hours", "1"]
    with pytest.raises(SystemExit, match="--oppose: expected a dimension and others"):
        command._setting(command._parser().parse_args([*place, "--oppose", flag]))


def test_a_conflict_is_of_dimensions_that_take_part(tmp_path):
    place = ["--out", str(tmp_path), "--train", "t.jsonl", "--model", "m", "--hours", "1"]
    flags = [*place, "--dimensions", "C", "T", "E", "--oppose", "T:CE", "--conflict", "0.2"]
    setting = command._setting(command._parser().parse_args(flags))
    assert setting.sizes.dimensions == ("T", "E", "C")
    assert setting.conflict == rows.Conflict("T", ("C", "E"), 0.2)
    for wrong, said in ((["--oppose", "A:E"], "found A"), (["--conflict", "1.5"], "found 1.5")):
        with pytest.raises(SystemExit, match=said):
            command._setting(command._parser().parse_args([*flags, *wrong]))


def test_dimensions_that_take_no_part_have_no_rows(tiny_tokenizer, tmp_path):
    both = data.PreferenceRow("Both", SENTENCE, {"A": OTHER, "T": OTHER}, context="given")
    file = written(tmp_path / "train.jsonl", [*many("Given"), both])
    sizes = dataclasses.replace(SIZES, dimensions=("T", "E"), train=99)
    found = [row for own in rows.split([file], [], tiny_tokenizer, sizes).values() for row in own]
    assert {k for row in found for k in row.rejects} == {"T", "E"}
    assert {"T": OTHER} in [row.rejects for row in found if row.prompt == "Both"]


def test_a_stronger_dial_only_adds_partners():
    given = [single("A", f"p{number}") for number in range(9)]
    weak, strong = (
        rows.with_conflict(given, rows.Conflict(share=share), SIZES) for share in (0.3, 0.8)
    )
    assert {row.prompt for row in weak[9:]} < {row.prompt for row in strong[9:]}


def test_what_is_written_is_read_again(tmp_path):
    given = rows.with_conflict(many("Given", 2), rows.Conflict(), SIZES)
    counts = rows.write(tmp_path, {"train": given})
    assert data.read_rows(tmp_path / "train.jsonl") == given
    assert counts["train"] == {"A": 2, "T": 2, "E": 4, "C": 2, "opposing": 2, "prompts": 8}


def test_figures_of_pairs_by_hand():
    given = [single("A", "p"), single("E", "p"), single("A", "q")]
    ratios = np.array([[2.0, -1, 0, 0, 0], [1.0, 0, 0, 3.0, 0], [-4.0, 0, 0, 0, 0]])
    lengths = np.array([[4, 2, 0, 0, 0], [2, 0, 0, 2, 0], [8, 9, 0, 0, 0]])
    found = scoring.figures(ratios, lengths, lengths > 0, given)
    assert found["pairs"]["dimension"] == ["A", "E", "A"]
    assert found["pairs"]["prompt"] == [0, 0, 1]
    np.testing.assert_allclose(found["pairs"]["margin"], [0.3, -0.2, -0.4])
    assert found["pairs"]["longer"] == [1.0, 0.5, 0.0]
    np.testing.assert_allclose(found["drift"], [0.5, 0.5, -0.5])


def test_the_figures_of_a_swapped_row_are_its_partners():
    several = {"A": "other words of q", "C": "or others"}
    given = [single("A", "p"), single("T", "p"), data.PreferenceRow("q", SENTENCE, several)]
    ratios = np.array([[2.0, -1, 0, 0, 0], [2.0, 0, -1, 0, 0], [-4.0, 5.0, 0, 0, 6.0]])
    rows_of = rows.with_conflict(given, rows.Conflict(), SIZES)
    assert len(rows_of) == 5
    found = scoring.arranged(ratios, given, rows_of)
    np.testing.assert_array_equal(found[:3], ratios)
    by_hand = {"p": [-1.0, 0, 0, 2.0, 0], "q": [5.0, 0, 0, -4.0, 0]}
    for row, values in zip(rows_of[3:], found[3:], strict=True):
        np.testing.assert_array_equal(values, by_hand[row.prompt])
    there = scoring.arranged(ratios != 0, given, rows_of)
    np.testing.assert_array_equal(there, found != 0)


def test_the_shares_held_out_are_of_prompts():
    given = [single("T", f"p{number}") for number in range(200)]
    sizes = rows.Sizes(validation_share=0.1, test_share=0.4)
    validation, test = rows._held_out(given, sizes)
    assert len(test) == 80 and len(validation) == 20
    assert not {row.prompt for row in test} & {row.prompt for row in validation}
    assert rows._held_out(given[:2], sizes) == ([], [])
