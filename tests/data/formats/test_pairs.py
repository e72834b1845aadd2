"""Pairs of chosen and rejected: the forms of TRL's data sets, dimensions, joining, bad pairs."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dignified_jax.data import BadRowsError, Message, PreferenceRow, encode, read_rows
from dignified_jax.data.__main__ import main
from dignified_jax.data.formats import pairs
from dignified_jax.data.formats.columns import Columns
from dignified_jax.data.rejected import set_aside
from dignified_jax.data.sources import RawRecord


def user(text):
    return {"role": "user", "content": text}


def reply(text):
    return {"role": "assistant", "content": text}


TURNS = [{"role": "system", "content": "Be brief."}, user("Is 7 prime?"), reply("Yes."), user("9?")]
PROMPT = tuple(Message(**turn) for turn in TURNS)


def write(path, records):
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return path


def read(path, records, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_rows(write(path, records), format="pairs", **{"dimension": "T"} | options)


def problems(path, records, **options):
    with pytest.raises(BadRowsError) as caught:
        read(path, records, **options)
    return [(found.row, found.field, str(found)) for found in caught.value.problems]


EXPLICIT = {"prompt": "9?", "chosen": "No.", "rejected": "Yes."}
CONVERSATIONAL = {"prompt": TURNS, "chosen": [reply("No.")], "rejected": [reply("Yes.")]}
IMPLICIT = {"chosen": [*TURNS, reply("No.")], "rejected": [*TURNS, reply("Yes.")]}


@pytest.mark.parametrize(
    "record, prompt",
    [
        (EXPLICIT, "9?"),
        (CONVERSATIONAL, PROMPT),
        (IMPLICIT, PROMPT),
        ({**CONVERSATIONAL, "prompt": "9?"}, "9?"),  # TRL would lose the prompt of this one
        ({**IMPLICIT, "prompt": "Is 7 prime?"}, PROMPT),  # as UltraFeedback has it
        ({**IMPLICIT, "prompt": TURNS}, PROMPT),
        ({**IMPLICIT, "prompt": None}, PROMPT),
        (
            {
                name: f"\n\nHuman: Is 7 prime?\n\nAssistant: Yes.\n\nHuman: 9?\n\nAssistant: {end}"
                for name, end in (("chosen", "No."), ("rejected", "Yes."))
            },
            PROMPT[1:],
        ),
    ],
)
def test_every_form(record, prompt, tmp_path):
    rows = read(tmp_path / "a.jsonl", [record])
    assert rows == [PreferenceRow(prompt, "No.", {"T": "Yes."})]


def test_prompts_are_those_that_trl_extracts(tmp_path):
    pytest.importorskip("trl")
    from trl.data_utils import maybe_extract_prompt

    other = {"chosen": [user("9?"), reply("No.")], "rejected": [user("9?"), reply("Yes.")]}
    for record in (EXPLICIT, CONVERSATIONAL, IMPLICIT, {**IMPLICIT, "prompt": "9?"}, other):
        (row,) = read(tmp_path / "a.jsonl", [record])
        theirs = maybe_extract_prompt(record)
        texts = [theirs[name] for name in ("chosen", "rejected")]
        ours = [row.golden, row.rejects["T"]]
        assert [t if isinstance(t, str) else t[0]["content"] for t in texts] == ours
        assert PreferenceRow(theirs["prompt"], "", {}).prompt == row.prompt


@given(
    st.text("ab é\u0301😀\n", max_size=6),
    st.text("ab é\u0301😀\n", max_size=4),
    st.text("ab é\u0301😀\n", max_size=4),
)
@settings(deadline=None, max_examples=200, derandomize=True, database=None)
@example("The sky is ", "blue.", "green.")
@example("The sky is", " blue.", " blue and green.")  # one begins the other
@example("Is it", "?", "")
@example("", "ab ", "b")  # TRL makes a prompt of chosen's own end
@example("e", "\u0301", "\u0300")  # a letter and its accent come apart, as in TRL
def test_texts_without_a_prompt_are_split_as_trl_does(shared, first, second):
    trl = pytest.importorskip("trl.data_utils")
    record = {"chosen": shared + first, "rejected": shared + second}
    columns = Columns(pairs.COLUMNS, lambda: [])
    row, found = pairs.validate(RawRecord("a", 1, record, b""), columns, ("T",), "T")
    alike = record["chosen"].strip() == record["rejected"].strip()
    begin = bool(record["chosen"] and record["chosen"][:1] == record["rejected"][:1])
    if alike or not begin:
        assert row is None and {each.field for each in found} & {"rejected", "prompt"}
        return
    theirs = trl.extract_prompt(record)
    if row is None:
        blank = [name for name in record.keys() | {"prompt"} if not theirs[name].strip()]
        same = theirs["chosen"].strip() == theirs["rejected"].strip()
        assert {each.field for each in found} <= {*blank, *(["rejected"] if same else [])}
    else:
        ours = {"prompt": row.prompt, "chosen": row.golden, "rejected": row.rejects["T"]}
        assert ours == theirs


TEXTS = {"chosen": "Is 9 prime? No.", "rejected": "Is 9 prime? Yes."}


def test_texts_are_split_only_where_no_row_of_the_source_has_a_prompt(tmp_path):
    split = PreferenceRow("Is 9 prime?", " No.", {"T": " Yes."})
    assert read(tmp_path / "a.jsonl", [TEXTS, TEXTS]) == [split, split]
    for records, bad in (
        ([TEXTS, EXPLICIT], 1),  # whichever comes first
        ([EXPLICIT, TEXTS], 2),
        ([{**TEXTS, "prompt": None}, EXPLICIT], 1),
        ([{**TEXTS, "prompt": ""}], 1),
    ):
        found = problems(tmp_path / "b.jsonl", records)
        assert [each[:2] for each in found] == [(bad, "prompt")]
        assert "replies alone" in found[0][2]
    options = {"format": "pairs", "dimension": "T", "on_bad_row": "skip"}
    with pytest.warns(UserWarning, match="1 of 2 rows are bad"):
        path = write(tmp_path / "c.jsonl", [TEXTS, EXPLICIT])
        rows = read_rows(path, rejected_path=tmp_path / "bad.jsonl", **options)
    assert rows == [PreferenceRow("9?", "No.", {"T": "Yes."})]
    assert json.loads((tmp_path / "bad.jsonl").read_text())["raw"] == json.dumps(TEXTS)
    (tmp_path / "a.csv").write_text("chosen,rejected\n9? No.,9? Yes.\n")
    (row,) = read_rows(tmp_path / "a.csv", format="pairs", dimension="T")
    assert row == PreferenceRow("9?", " No.", {"T": " Yes."})
    (tmp_path / "b.csv").write_text("prompt,chosen,rejected\n,9? No.,9? Yes.\n")
    with pytest.raises(BadRowsError, match=r"b\.csv:1: prompt: .* replies alone"):
        read_rows(tmp_path / "b.csv", format="pairs", dimension="T")


def test_texts_that_begin_unlike_are_refused(tmp_path):
    other = {"chosen": "No.", "rejected": "Yes."}
    found = problems(tmp_path / "a.jsonl", [TEXTS, other, {"chosen": " a", "rejected": " b"}])
    assert [each[:2] for each in found] == [(2, "prompt"), (3, "prompt")]
    assert "one text that chosen and rejected begin with, found 'No.' and 'Yes.'" in found[0][2]


@pytest.mark.parametrize(
    "column, value", [("question", "Is 9 prime?"), ("Prompt", "9?"), ("instruction", TURNS)]
)
def test_a_prompt_in_a_column_of_another_name_is_told(column, value, tmp_path):
    """No row is split at a beginning that its replies share by chance, with "skip" neither."""
    rows = [{column: value, "chosen": f"The answer is {n}.", "rejected": "Then no."} for n in "ab"]
    path = write(tmp_path / "a.jsonl", rows)
    for more in ({}, {"on_bad_row": "skip", "rejected_path": tmp_path / "bad.jsonl"}):
        with pytest.raises(BadRowsError) as caught, pytest.warns(UserWarning, match="not used"):
            read_rows(path, format="pairs", dimension="T", **more)
        assert [(each.row, each.field) for each in caught.value.problems] == [
            (1, "prompt"),
            (2, "prompt"),
        ]
        assert f"found a column '{column}', to rename" in str(caught.value.problems[0])


@pytest.mark.parametrize("value", ["9 prime", "", None, 7])
def test_a_column_that_repeats_the_shared_beginning_is_no_other_prompt(value, tmp_path):
    options = {"format": "pairs", "dimension": "T"}
    with pytest.warns(UserWarning, match=r"columns not used: \['question'\]"):
        rows = read_rows(write(tmp_path / "a.jsonl", [{"question": value, **TEXTS}]), **options)
    assert rows == [PreferenceRow("Is 9 prime?", " No.", {"T": " Yes."})]


def test_other_sources(tmp_path):
    datasets = pytest.importorskip("datasets")
    expected = [PreferenceRow(PROMPT, "No.", {"T": "Yes."})]
    folder = tmp_path / "rows"
    folder.mkdir()
    datasets.Dataset.from_list([IMPLICIT]).to_parquet(folder / "train.parquet")
    for source in (folder, folder / "train.parquet"):
        assert read_rows(source, format="pairs", dimension="T") == expected
    file = tmp_path / "a.csv"
    file.write_text("prompt,chosen,rejected,dimension\n9?,No.,Yes.,T\n9?,No.,Nine.,E\n")
    (row,) = read_rows(file, format="pairs")
    assert row == PreferenceRow("9?", "No.", {"T": "Yes.", "E": "Nine."})
    file.write_text("prompt,chosen\n9?,No.\n")
    with pytest.raises(BadRowsError, match=r"a\.csv: rejected: expected a column of this name"):
        read_rows(file, format="pairs", dimension="T")


def pair(rejected, dimension=None, prompt="9?", chosen="No."):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "dimension": dimension}


def test_equal_prompts_and_chosen_are_joined_and_none_is_lost(tmp_path):
    records = [
        pair("a", "T"),
        pair("b", "A"),
        pair("c", "T"),
        pair("d", "T", prompt="8?"),
        pair("e", "T", chosen="No"),
        pair("a", "T"),
        pair("f", "A"),
        pair("g"),
    ]
    rows = read(tmp_path / "a.jsonl", records, dimension="C")
    expected = [
        ("9?", "No.", {"A": "b", "T": "a", "C": "g"}),
        ("9?", "No.", {"A": "f", "T": "c"}),
        ("8?", "No.", {"T": "d"}),
        ("9?", "No", {"T": "e"}),
        ("9?", "No.", {"T": "a"}),
    ]
    assert rows == [PreferenceRow(*each) for each in expected]
    assert [list(row.rejects) for row in rows[:2]] == [["A", "T", "C"], ["A", "T"]]
    assert [(row.row, dict(row.pairs)) for row in rows] == [
        (1, {"A": 2, "T": 1, "C": 8}),
        (3, {"A": 7, "T": 3}),
        (4, {"T": 4}),
        (5, {"T": 5}),
        (6, {"T": 6}),
    ]


def test_many_pairs_of_one_prompt_are_joined_in_time(tmp_path):
    records = [pair(f"{n}", "TA"[n % 2]) for n in range(4000)]
    rows = read(tmp_path / "a.jsonl", records)
    assert len(rows) == 2000 and all(row.mask == ("A", "T") for row in rows)


@pytest.mark.parametrize(
    "record, field, said",
    [
        ({**EXPLICIT, "rejected": " No. "}, "rejected", "a text other than chosen, found ' No. '"),
        ({**EXPLICIT, "chosen": ""}, "chosen", "expected text, found an empty cell"),
        ({**EXPLICIT, "rejected": 3}, "rejected", "one turn of the assistant, found 3 (int)"),
        ({"prompt": "9?", "chosen": "No."}, "rejected", "a column of this name"),
        ({"chosen": "No.", "rejected": "Yes."}, "prompt", "chosen and rejected are replies alone"),
        ({**CONVERSATIONAL, "prompt": TURNS[:3]}, "prompt[3]", "the user's turn"),
        ({**IMPLICIT, "rejected": "Yes."}, "rejected", "turns, as the other reply has"),
        ({**IMPLICIT, "rejected": IMPLICIT["chosen"]}, "rejected", "turns other than chosen's"),
        ({**IMPLICIT, "rejected": TURNS}, "rejected", "after the 4 that both share, found none"),
        ({**IMPLICIT, "prompt": "10?"}, "prompt", "a user's turn that chosen and rejected share"),
        ({**IMPLICIT, "prompt": TURNS[:2]}, "prompt", "the turns that chosen and rejected share"),
        (
            {"chosen": [user("a"), reply("b")], "rejected": [user("c"), reply("d")]},
            "chosen",
            "one turn of the assistant after the 0 that both share, found 2: user, assistant",
        ),
        (
            {"chosen": [], "rejected": [user("c"), reply("d")]},
            "chosen",
            "after the 0 that both share, found none",
        ),
        (
            {**IMPLICIT, "chosen": [*TURNS, {"role": "tool", "content": "5"}]},
            "chosen[4].role",
            "tools are not trained on",
        ),
        ({**EXPLICIT, "dimension": "X"}, "dimension", "expected one of A, T, E, C, found 'X'"),
        ({**EXPLICIT, "dimension": 3}, "dimension", "expected text, found 3 (int)"),
    ],
)
def test_bad_pairs_name_row_and_field(record, field, said, tmp_path):
    found = problems(tmp_path / "a.jsonl", [EXPLICIT, record])
    assert (2, field) in [each[:2] for each in found]
    assert any(said in each[2] for each in found)


def test_dimension_of_all_or_of_each(tmp_path):
    found = problems(tmp_path / "a.jsonl", [EXPLICIT], dimension=None)
    assert found[0][:2] == (0, "dimension") and "data.dimension for all" in found[0][2]
    found = problems(tmp_path / "a.jsonl", [pair("a", "T"), pair("b")], dimension=None)
    assert found[0][:2] == (2, "dimension") and "found an empty cell" in found[0][2]
    (row,) = read(tmp_path / "a.jsonl", [EXPLICIT], dimension=None, dimensions=("one",))
    assert row.rejects == {"one": "Yes."}
    with pytest.raises(ValueError, match=r"^dimension: expected one of A, T, E, C, found 'X'$"):
        read(tmp_path / "a.jsonl", [EXPLICIT], dimension="X")
    with pytest.raises(ValueError, match=r"^dimension: expected none with format 'rejects'"):
        read_rows("a.jsonl", dimension="T")
    with pytest.raises(ValueError, match=r"^format: expected one of \('rejects', 'pairs'\)"):
        read_rows("a.jsonl", format="dpo")


def test_the_other_format_is_told(tmp_path):
    other = {"prompt": "9?", "golden": "No.", "mask": ["T"], "reject_T": "Yes."}
    with (
        pytest.warns(UserWarning, match="columns not used"),
        pytest.raises(BadRowsError, match=r"chosen: .* data\.format=rejects"),
    ):
        read_rows(write(tmp_path / "a.jsonl", [other]), format="pairs", dimension="T")
    with pytest.raises(BadRowsError, match=r"golden: .* data\.format=pairs"):
        read_rows(write(tmp_path / "a.jsonl", [EXPLICIT]))
    (tmp_path / "a.csv").write_text("prompt,chosen,rejected\n9?,No.,Yes.\n")
    with pytest.raises(BadRowsError, match=r"golden: .* data\.format=pairs"):
        read_rows(tmp_path / "a.csv")


def test_bad_pairs_are_set_aside(tmp_path):
    path = write(tmp_path / "a.jsonl", [pair("a", "T"), pair("b", "X"), pair("c", "A")])
    options = {"on_bad_row": "skip", "rejected_path": tmp_path / "rejected.jsonl"}
    with pytest.warns(UserWarning, match="1 of 3 rows are bad"):
        (row,) = read_rows(path, format="pairs", **options)
    assert row.mask == ("A", "T") and dict(row.pairs) == {"A": 3, "T": 1}
    set_aside(options["rejected_path"], [(row, [])])
    lines = [json.loads(line) for line in options["rejected_path"].read_text().splitlines()]
    assert [line["row"] for line in lines] == [2, 3, 1]
    assert [line["raw"] for line in lines[1:]] == [pair("c", "A"), pair("a", "T")]


def test_a_text_that_no_template_takes_is_told_by_its_pair(tmp_path, tokenizer):
    tokenizer.chat_template = (
        "{% if 'dog' in messages[-1].content %}{{ raise_exception('no dogs') }}{% endif %}"
        + tokenizer.chat_template
    )
    records = [pair("a", "T"), pair("b", "A"), pair("dog", "E"), pair("a", "T", chosen="a dog")]
    rows = read(tmp_path / "a.jsonl", records)
    with pytest.raises(BadRowsError) as caught:
        encode(rows, tokenizer)
    found = [(problem.row, problem.field) for problem in caught.value.problems]
    assert found == [(3, "rejected"), (4, "chosen")]


def test_a_bad_reject_takes_no_other_pair_with_it(tmp_path, tokenizer):
    """Its pair alone is set aside; a bad golden takes all of its pairs along."""
    tokenizer.chat_template = (
        "{% if 'dog' in messages[-1].content %}{{ raise_exception('no dogs') }}{% endif %}"
        + tokenizer.chat_template
    )
    records = [
        *(pair("a", "T"), pair("dog", "A"), pair("c", "E")),
        *(pair("a", "T", chosen="dog."), pair("b", "A", chosen="dog.")),
        *(pair("dog", "T", prompt="8?"), pair("a dog", "C", prompt="8?")),
    ]
    rows = read(tmp_path / "a.jsonl", records)
    assert len(rows) == 3
    examples, report = encode(rows, tokenizer, on_bad_row="skip")
    without = read(tmp_path / "b.jsonl", [records[0], records[2]])
    (expected,), _ = encode(without, tokenizer)
    (example,) = examples
    np.testing.assert_array_equal(example.prompt, expected.prompt)
    for one, other in zip(example.responses, expected.responses, strict=True):
        np.testing.assert_equal(one, other)
    assert example.index == 0 and report.examples == 1
    places = {at: [p.row for p in problems] for at, problems in report.rejected.items()}
    assert places == {0: [2], 1: [4], 2: [6, 7]}
    set_aside(tmp_path / "rejected.jsonl", [(rows[at], report.rejected[at]) for at in (0, 1, 2)])
    lines = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert {line["row"]: line["raw"] for line in lines} == {
        number: records[number - 1] for number in (2, 4, 5, 6, 7)
    }
    assert [len(line["problems"]) for line in lines] == [1] * 5


def test_stats_of_pairs(tmp_path, capsys):
    path = str(write(tmp_path / "a.jsonl", [CONVERSATIONAL, {**IMPLICIT, "dimension": "A"}]))
    assert main(["stats", path, "--format", "pairs", "--dimension", "T"]) == 0
    said = capsys.readouterr().out
    assert "samples                    1" in said and "2 active dimensions    100.0 %" in said
    assert "of several turns           1" in said and "with a system turn         1" in said
    assert main(["stats", path]) == 1
    assert "data.format=pairs" in capsys.readouterr().err
