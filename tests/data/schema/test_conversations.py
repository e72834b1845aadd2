"""Prompts and replies as conversations: what is taken, and what is refused by field."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dignified_jax.data import BadRowsError, Message, PreferenceRow, read_rows, split_validation
from dignified_jax.data.schema.conversation import shortened

SYSTEM = {"role": "system", "content": "Be brief."}
TURNS = [
    SYSTEM,
    {"role": "user", "content": "Is 7 prime?"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "And 9?"},
]
MESSAGES = tuple(Message(**turn) for turn in TURNS)


def reply(text):
    return {"role": "assistant", "content": text}


def record(prompt=None, golden="No: 3 x 3.", reject="Yes.", **more):
    prompt = TURNS if prompt is None else prompt
    return {"prompt": prompt, "golden": golden, "mask": ["T"], "reject_T": reject, **more}


def write(path, records):
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return path


EXPECTED = PreferenceRow(MESSAGES, "No: 3 x 3.", {"T": "Yes."})


@pytest.mark.parametrize(
    "golden, reject",
    [
        ("No: 3 x 3.", "Yes."),
        (reply("No: 3 x 3."), [reply("Yes.")]),
        ([reply([{"type": "text", "text": "No: "}, {"type": "text", "text": "3 x 3."}])], "Yes."),
    ],
)
def test_turns_and_replies_in_every_form(golden, reject, tmp_path):
    assert read_rows(write(tmp_path / "a.jsonl", [record(TURNS, golden, reject)])) == [EXPECTED]
    assert PreferenceRow(TURNS, golden, {"T": reject}) == EXPECTED
    array = tmp_path / "a.json"
    array.write_text(json.dumps([record(TURNS, golden, reject)]))
    assert read_rows(array) == [EXPECTED]


def test_one_turn_of_the_user_is_its_text(tmp_path):
    parts = [{"type": "text", "text": "Is 7 "}, {"type": "text", "text": "prime?"}]
    rows = [record(TURNS[1:2]), record("Is 7 prime?"), record([{**TURNS[1], "content": parts}])]
    read = read_rows(write(tmp_path / "a.jsonl", rows))
    assert [row.prompt for row in read] == ["Is 7 prime?"] * 3 and read[0] == read[1]


def test_parquet_and_a_folder_of_it(tmp_path):
    """Structs have every field in every row, empty where a row has none."""
    full = [{**turn, "tool_calls": None, "name": "", "images": []} for turn in TURNS]
    turn = pa.struct(
        {
            "role": pa.string(),
            "content": pa.string(),
            "name": pa.string(),
            "tool_calls": pa.list_(pa.string()),
            "images": pa.list_(pa.string()),
        }
    )
    columns = {
        "prompt": pa.array([full, full[1:2]], pa.list_(turn)),
        "golden": pa.array([[reply("No: 3 x 3.")], [reply("Yes.")]]),
        "mask": [["T"], ["A"]],
        "reject_T": pa.array([[reply("Yes.")], []]),
        "reject_A": pa.array([None, [reply("No.")]]),
    }
    folder = tmp_path / "rows"
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "train.parquet")
    expected = [EXPECTED, PreferenceRow("Is 7 prime?", "Yes.", {"A": "No."})]
    assert read_rows(folder / "train.parquet") == expected
    assert read_rows(folder) == expected
    assert PreferenceRow(np.array(TURNS), "No: 3 x 3.", {"T": "Yes."}) == EXPECTED


def test_text_in_parquet_turns_that_is_not_utf8(tmp_path):
    turn = pa.struct({"role": pa.binary(), "content": pa.binary()})
    raw = [{"role": b"user", "content": b"caf\xe9?"}]
    array = pa.array([raw, [{"role": b"user", "content": b"tea?"}]], pa.list_(turn))
    text = array.cast(
        pa.list_(pa.struct({"role": pa.string(), "content": pa.string()})), safe=False
    )
    columns = {"prompt": text, "golden": ["g"] * 2, "mask": [["T"]] * 2, "reject_T": ["t"] * 2}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(BadRowsError) as caught:
        read_rows(tmp_path / "a.parquet")
    (problem,) = caught.value.problems
    assert (problem.row, problem.field) == (1, "prompt[0].content")


def user(content, **more):
    return {"role": "user", "content": content, **more}


PART = {"type": "image_url", "image_url": {"url": "a.png"}}


@pytest.mark.parametrize(
    "prompt, field, expected, found",
    [
        (TURNS[:3], "prompt[3]", "the user's turn, to which the replies are", "the end"),
        ([SYSTEM], "prompt[1]", "the user's turn, to which", "the end"),
        ([reply("Hi."), user("Hi.")], "prompt[0]", "the user's turn (or the system's)", "the assi"),
        ([user("a"), user("b")], "prompt[1]", "the assistant's turn", "the user's"),
        ([user("a"), SYSTEM, user("b")], "prompt[1]", "the assistant's turn", "the system's"),
        (
            [user("a"), {"role": "tool", "content": "5"}],
            "prompt[1].role",
            "one of",
            "tools are not",
        ),
        ([{"role": "developer", "content": "x"}], "prompt[0].role", "'system'", "write it as"),
        ([{"role": ["user"], "content": "x"}], "prompt[0].role", "one of", "['user']"),
        ([{"content": "x"}], "prompt[0].role", "one of 'system', 'user', 'assistant'", "None"),
        ([user("a", tool_calls=[{"id": 1}])], "prompt[0].tool_calls", "role and content", "tools"),
        ([user("a", images=["a.png"])], "prompt[0].images", "role and content alone", "only text"),
        ([user([PART])], "prompt[0].content[0]", "a part {'type': 'text'", "'image_url'"),
        ([user([{"type": "text"}])], "prompt[0].content[0]", "a part {'type'", "{'type': 'text'}"),
        ([user([])], "prompt[0].content", "text", "an empty one ''"),
        ([user(None)], "prompt[0].content", "text", "an empty one ''"),
        ([user(5)], "prompt[0].content", "text", "5 (int)"),
        ([user("\ud800")], "prompt[0].content", "valid Unicode", "'\\ud800'"),
        (["a"], "prompt[0]", "a turn {'role': ..., 'content': ...}", "'a' (str)"),
        ([], "prompt", "text", "an empty cell ''"),
        ({"role": "user", "content": "a"}, "prompt", "text", "(dict)"),
        (json.dumps(TURNS), "prompt", "a list of turns", "written as text"),
        (str(TURNS), "prompt", "a list of turns", "written as text"),
    ],
)
def test_bad_conversations_name_row_and_field(prompt, field, expected, found, tmp_path):
    path = write(tmp_path / "a.jsonl", [record(), record(prompt)])
    with pytest.raises(BadRowsError) as caught:
        read_rows(path)
    (problem,) = caught.value.problems
    assert (problem.row, problem.field) == (2, field)
    assert expected in problem.expected and found in problem.found


@pytest.mark.parametrize(
    "value, field, found",
    [
        ([reply("a"), reply("b")], "golden", "2 of assistant, assistant"),
        (TURNS, "golden", "4 of system, user, assistant, user"),
        (user("a"), "golden", "1 of user"),
        (
            {"role": "assistant", "tool_calls": [{}]},
            "golden[0].tool_calls",
            "tools are not trained",
        ),
        ({**reply("a"), "reasoning_content": "hm"}, "golden[0].reasoning_content", "<think>"),
        (reply(" "), "golden[0].content", "an empty one ' '"),
        ([], "golden", "an empty cell ''"),
        (json.dumps([reply("a")]), "golden", "turns written as text"),
        (str([reply("a")]), "golden", "turns written as text"),
    ],
)
def test_bad_replies_name_row_and_field(value, field, found, tmp_path):
    with pytest.raises(BadRowsError) as caught:
        read_rows(write(tmp_path / "a.jsonl", [record(golden=value)]))
    (problem,) = caught.value.problems
    assert (problem.row, problem.field) == (1, field) and found in problem.found


def test_a_text_that_only_looks_like_turns_is_a_text(tmp_path):
    prompts = ['[{"role": "user"}] is what I sent', '[{"a": 1}]', "[{", "[{'role': x}]"]
    rows = read_rows(write(tmp_path / "a.jsonl", [record(prompt) for prompt in prompts]))
    assert [row.prompt for row in rows] == prompts
    # One that is such a list through and through has to be given as a turn's content.
    text = json.dumps(TURNS)
    (row,) = read_rows(write(tmp_path / "a.jsonl", [record([user(text)], golden=reply(text))]))
    assert (row.prompt, row.golden) == (text, text)


@pytest.mark.parametrize("name", ["images", "tools"])
def test_columns_that_the_model_would_have_to_see_are_refused(name, tmp_path):
    rows = [record(**{name: value}) for value in (None, [], ["a.png"])]
    with pytest.raises(BadRowsError) as caught:
        read_rows(write(tmp_path / "a.jsonl", rows))
    (problem,) = caught.value.problems
    assert (problem.row, problem.field) == (3, name) and "only text" in problem.expected


def test_system_turn_may_be_empty_and_other_keys_are_not_used(tmp_path):
    prompt = [{"role": "system", "content": ""}, user("Hi.", id=3, language="English")]
    (row,) = read_rows(write(tmp_path / "a.jsonl", [record(prompt)]))
    assert row.prompt == (Message("system", ""), Message("user", "Hi."))


def test_rows_that_are_set_aside_keep_their_turns(tmp_path):
    path = write(tmp_path / "a.jsonl", [record(), record(TURNS[:3])])
    rejected = tmp_path / "rejected.jsonl"
    with pytest.warns(UserWarning, match="1 of 2 rows are bad"):
        assert read_rows(path, on_bad_row="skip", rejected_path=rejected) == [EXPECTED]
    assert json.loads(json.loads(rejected.read_text())["raw"])["prompt"] == TURNS[:3]


def test_split_keeps_equal_conversations_together():
    other = [*TURNS[:3], user(" And 9?\n")]
    rows = [PreferenceRow(prompt, f"{n}", {}) for n in range(3) for prompt in (TURNS, other, "x")]
    rows += [PreferenceRow([SYSTEM, user(f"{n}")], "g", {}) for n in range(8)]
    for seed in range(5):
        train, held = split_validation(rows, 0.3, seed)
        assert len(train) + len(held) == len(rows)
        sides = [{row.prompt for row in side} for side in (train, held)]
        both = {PreferenceRow(p, "", {}).prompt for p in (TURNS, other)}
        assert all(both <= side or not both & side for side in sides)


def test_oldest_exchanges_go_first():
    assert shortened(MESSAGES) == [(MESSAGES[0], MESSAGES[3])]
    assert shortened(MESSAGES[1:]) == ["And 9?"]
    longer = (*MESSAGES, Message("assistant", "No."), MESSAGES[3])
    assert shortened(longer) == [(MESSAGES[0], *longer[3:]), (MESSAGES[0], MESSAGES[3])]
    assert shortened("And 9?") == shortened((MESSAGES[0], MESSAGES[3])) == []
