"""Sets of dimensions other than the default one: names, columns, packing, statistics."""

import csv
import json

import numpy as np
import pytest

from dignified_jax import data
from dignified_jax.data import BadRowsError, PreferenceRow, encode, pack, read_rows
from dignified_jax.data.__main__ import main
from dignified_jax.data.batch import Capacity
from dignified_jax.data.packing import best_fit, build
from dignified_jax.data.schema import check_dimensions, dimensions_of, response_names
from dignified_jax.data.statistics import summarise
from tests.oracles import sequences

LONG = ("anti_sycophancy", "trust-worthiness", "empathy")
SIXTEEN = tuple(f"dimension_{number}" for number in range(16))
SETS = {"one": ("helpful",), "long": LONG, "sixteen": SIXTEEN}


def records(dimensions):
    """A row for each number of active dimensions, and one for each dimension alone."""
    masks = [dimensions[:n] for n in range(1, len(dimensions) + 1)]
    masks += [(dimension,) for dimension in dimensions]
    return [
        {
            "prompt": f"Is {number} even?",
            "golden": f"Halve {number} and look.",
            "mask": list(mask),
            **{f"reject_{d}": f"Yes, {d} {number}." if d in mask else "" for d in dimensions},
        }
        for number, mask in enumerate(masks)
    ]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def problems_of(path, **options):
    with pytest.raises(BadRowsError) as caught:
        read_rows(path, **options)
    return caught.value.problems


# --- names


@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
def test_good_names(names):
    assert check_dimensions(list(names)) == names
    assert response_names(names) == ("golden", *names)


@pytest.mark.parametrize(
    "names, found",
    [
        ((), "found 0"),
        (tuple("abcdefghijklmnopq"), "found 17"),
        (("A", ""), "found ''"),
        (("A", "A"), "'A' and 'A'"),
        (("kind", "Kind"), "'kind' and 'Kind'"),
        (("golden",), "'golden' is the name of the good response"),
        (("a/b",), "'a/b'"),
        (("a b",), "'a b'"),
        (("a,b",), "'a,b'"),
        (("a+b",), r"'a\+b'"),
        ((".",), "'.'"),
        (("a\n",), r"'a\\n'"),
        (("-a",), "'-a'"),
        (("x" * 65,), "'xxx"),
        ((1,), "found 1"),
    ],
)
def test_bad_names(names, found, tmp_path):
    with pytest.raises(ValueError, match=f"^dimensions: .*{found}"):
        check_dimensions(names)
    with pytest.raises(ValueError, match=r"^dimensions: "):
        read_rows(tmp_path / "never_opened.jsonl", dimensions=names)


# --- columns


@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
def test_rows_of_a_set(names, tmp_path):
    rows = read_rows(write(tmp_path / "rows.jsonl", records(names)), dimensions=names)
    assert dimensions_of(rows) == names
    assert [row.mask for row in rows] == [tuple(r["mask"]) for r in records(names)]
    assert rows[0].response(names[0]) == f"Yes, {names[0]} 0."
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, records(names)[0])
        writer.writeheader()
        writer.writerows({**r, "mask": ", ".join(r["mask"])} for r in records(names))
    assert read_rows(tmp_path / "rows.csv", dimensions=names) == rows


def test_masks_follow_the_order_of_the_set(tmp_path):
    row = records(LONG)[2] | {"mask": list(reversed(LONG))}
    (read,) = read_rows(write(tmp_path / "rows.jsonl", [row]), dimensions=LONG)
    assert read.mask == tuple(read.rejects) == LONG


@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
def test_a_reject_of_no_dimension_is_no_warning(tmp_path, on_bad_row):
    """It names the column and the first row, once, and is never set aside row by row."""
    path = write(tmp_path / "rows.jsonl", records(LONG))
    policy = {"on_bad_row": on_bad_row}
    if on_bad_row == "skip":
        policy["rejected_path"] = tmp_path / "rejected.jsonl"
    (problem,) = problems_of(path, dimensions=LONG[:2], **policy)
    assert (problem.row, problem.field) == (3, "reject_empathy")
    assert problem.expected == "the reject of a dimension out of anti_sycophancy, trust-worthiness"
    assert problem.found == "'Yes, empathy 2.' and text in 1 more rows"
    assert not (tmp_path / "rejected.jsonl").exists()
    found = problems_of(path, **policy)  # the default set
    assert [p.field for p in found] == [f"reject_{d}" for d in sorted(LONG)]


def test_an_unclaimed_column_without_text_is_told(tmp_path):
    rows = [r | {"reject_X": cell} for r, cell in zip(records(LONG), (None, " ", ""), strict=False)]
    path = write(tmp_path / "rows.jsonl", rows)
    with pytest.warns(UserWarning, match=r"columns not used: \['reject_X'\]"):
        read_rows(path, dimensions=LONG)
    rows[1]["reject_X"] = 0
    (problem,) = problems_of(write(path, rows), dimensions=LONG)
    assert (problem.row, problem.field, problem.found) == (2, "reject_X", "0")


def test_a_dimension_without_a_column(tmp_path):
    path = write(tmp_path / "rows.jsonl", records(LONG[:2]))
    (problem,) = problems_of(path, dimensions=LONG)
    assert str(problem) == (
        f"{path}: reject_empathy: expected a column for dimension empathy, found none in any row"
    )
    # Of the default set a column may be missing: it reads as empty.
    path = write(path, records(("A",)))
    assert read_rows(path)[0].dimensions == data.DIMENSIONS


def test_rows_of_two_sets_do_not_mix(tokenizer):
    rows = [PreferenceRow("p", "g", {"A": "a"}), PreferenceRow("p", "g", {}, dimensions=LONG)]
    for use in (
        lambda: encode(rows, tokenizer),
        lambda: summarise(rows),
        lambda: dimensions_of(rows),
    ):
        with pytest.raises(ValueError, match="rows: expected one set of dimensions, found"):
            use()
    with pytest.raises(ValueError, match=r"rejects: expected keys out of .*empathy.*found"):
        PreferenceRow("p", "g", {"A": "a"}, dimensions=LONG)


def test_anchors_take_the_set_of_the_rows(tmp_path):
    file = tmp_path / "evals.jsonl"
    line = {"question": "q", "answer_matching_behavior": "(A)"}
    write(file, [line | {"answer_not_matching_behavior": "(B)"}])
    (row,) = data.read_anchors("sycophancy", file, dimensions=LONG)
    assert row.dimensions == LONG and row.mask == ()


# --- packing


@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
def test_pack_follows_the_rows(names, tmp_path, tokenizer):
    rows = read_rows(write(tmp_path / "rows.jsonl", records(names)), dimensions=names)
    batch = pack(rows, tokenizer, row_length=1024)
    mask = np.array([[True, *(d in row.rejects for d in names)] for row in rows])
    np.testing.assert_array_equal(batch.response_mask, mask)
    assert batch.response_length.shape == (len(rows), 1 + len(names))
    # Each slot's response number finds its own text again.
    for number, row in enumerate(rows):
        for r, name in enumerate(response_names(names)):
            here = batch.response == number * (1 + len(names)) + r
            text = tokenizer.decode(batch.target[here])
            assert text == (f"{row.response(name)}<|im_end|>" if row.response(name) else "")
    only, _ = encode(rows, tokenizer, responses=("golden", names[-1]))
    places = {r for e in only for r, ids in enumerate(e.responses) if ids is not None}
    assert places == {0, len(names)}


@pytest.mark.parametrize("dimensions", [1, 2, 3, 7, 16])
def test_response_numbers_by_brute_force(dimensions):
    """(1 + K) * example + response, and one past the end where a slot is unused."""
    examples = sequences.random_examples(9, dimensions, dimensions=dimensions)
    plan = best_fit([e.length for e in examples], 160)
    room = {"row_length": 160, "rows": len(plan) + 1, "example_count": 11}
    batch = build(examples, plan, capacity=Capacity.of(examples, [plan]), **room)
    width = 1 + dimensions
    expected = [
        [
            (example * width + r, int(token))
            for example in row
            for r, ids in enumerate(examples[example].responses)
            if ids is not None
            for token in ids
        ]
        for row in plan
    ]
    for row, pairs in enumerate([*expected, []]):
        pairs += [(11 * width, 0)] * (batch.response.shape[1] - len(pairs))
        assert list(zip(batch.response[row], batch.target[row], strict=True)) == pairs
    lengths = [[0 if r is None else len(r) for r in e.responses] for e in examples]
    np.testing.assert_array_equal(batch.response_length[:9], lengths)
    assert not batch.response_mask[9:].any()


def test_examples_of_two_sets_do_not_mix():
    two, three = (sequences.random_examples(1, 0, dimensions=k) for k in (2, 3))
    with pytest.raises(ValueError, match=r"one number of responses .* found \[3, 4\]"):
        data.BatchStream([*two, *three], batch_size=2, row_length=90)
    room = {"row_length": 90, "rows": 1, "example_count": 1}
    with pytest.raises(ValueError, match="responses: expected 3 places, found 4"):
        build(three, [[0]], capacity=Capacity.of(two, [[[0]]]), **room)


# --- statistics


def test_statistics_of_sixteen(tmp_path, capsys):
    path = write(tmp_path / "rows.jsonl", records(SIXTEEN))
    assert main(["stats", str(path), "--dimensions", ", ".join(SIXTEEN), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)[str(path)]
    assert figures["rows"] == {d: 17 - n for n, d in enumerate(SIXTEEN)}
    assert figures["cardinality"]["16"] == 100 / 32 and figures["cardinality"]["1"] == 100 * 17 / 32
    assert main(["stats", str(path)]) == 1
    assert "reject_dimension_0: expected the reject of" in capsys.readouterr().err


def test_long_names_keep_the_columns_apart(tmp_path, capsys):
    path = write(tmp_path / "rows.jsonl", records(LONG))
    assert main(["stats", str(path), "--dimensions", ",".join(LONG)]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[next(n for n, line in enumerate(lines) if "mean" in line) :]
    widths = {len(line) for line in table[: 3 + len(LONG)]}
    assert len(widths) == 1 and "  reject_anti_sycophancy  " in "\n".join(table)
