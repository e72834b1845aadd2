"""Files of prompts and responses."""

import json

import pytest

from dignified_jax.data.schema import Message
from dignified_jax.evaluation.responses import (
    Response,
    ResponsesError,
    check_distinct,
    prompt_text,
    read_prompts,
    read_responses,
    write_responses,
)

TURNS = (Message("system", "Be."), Message("user", "Hi"))


def write(directory, *lines):
    file = directory / "lines.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_there_and_back(tmp_path):
    responses = (Response("m", "1", "What?", "Th\u00e5t.\u2028"), Response("m", "2", TURNS, ""))
    write_responses(tmp_path / "r.jsonl", responses)
    assert read_responses(tmp_path / "r.jsonl", "m") == responses


def test_prompts_are_joined_by_id(tmp_path):
    file = write(tmp_path, {"id": 7, "response": "Seven."})
    assert read_responses(file, "m", {"7": "Number?"}) == (Response("m", "7", "Number?", "Seven."),)
    with pytest.raises(ResponsesError, match=r"lines.jsonl:1: prompt: expected a text"):
        read_responses(file, "m", {"8": "Number?"})


def test_a_conversation_is_one_text():
    assert prompt_text(TURNS) == "System: Be.\n\nUser: Hi"
    assert prompt_text("Hi") == "Hi"


def test_the_hash_tells_prompts_and_texts_apart():
    one = Response("m", "1", "p", "t")
    assert one.hash == Response("n", "2", "p", "t").hash
    assert (
        len({one.hash, Response("m", "1", "pt", "").hash, Response("m", "1", "", "pt").hash}) == 3
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"prompt": "p"}, "id: expected a text or a number, found None"),
        ({"id": True, "prompt": "p"}, "id: expected"),
        ({"id": "a", "prompt": ""}, "prompt: expected a text or a list"),
        ({"id": "a", "prompt": [{"role": "user"}]}, "prompt: expected turns"),
        ({"id": "a", "prompt": "\ud800"}, "half of a surrogate pair"),
        (["a"], "expected a JSON object"),
    ],
)
def test_bad_prompts(tmp_path, line, message):
    with pytest.raises(ResponsesError, match=message):
        read_prompts(write(tmp_path, {"id": "good", "prompt": "p"}, line))


def test_bad_responses(tmp_path):
    good = {"id": "a", "prompt": "p", "response": "r"}
    with pytest.raises(ResponsesError, match=r":2: id 'a' stands twice"):
        read_responses(write(tmp_path, good, good), "m")
    with pytest.raises(ResponsesError, match=r":1: response: expected a text, found None"):
        read_responses(write(tmp_path, good | {"response": None}), "m")
    with pytest.raises(ResponsesError, match="expected at least one line"):
        read_responses(write(tmp_path), "m")


def test_distinct():
    one = Response("m", "1", "p", "t")
    check_distinct([one, Response("n", "1", "p", "t")])
    with pytest.raises(ResponsesError, match="expected one response, found two"):
        check_distinct([one, Response("m", "1", "p", "other")])
    with pytest.raises(ResponsesError, match="another prompt under this id"):
        check_distinct([one, Response("n", "1", "q", "t")])
