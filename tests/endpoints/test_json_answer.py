"""The one object of an answer, whatever else is in it."""

import pytest

from dignified_jax.endpoints.json_answer import Twice, find_object


@pytest.mark.parametrize(
    "text",
    ['{"reply": "a {b} c"}', '```json\n{"reply": "a {b} c"}\n```', 'So {x}: {"reply": "a {b} c"}.'],
)
def test_an_object_in_fences_and_prose(text):
    assert find_object(text, ["reply"], "key") == ({"reply": "a {b} c"}, "")


@pytest.mark.parametrize(
    ("text", "noun", "reason"),
    [
        (" \n", "key", "an empty answer"),
        ('{"other": 1}', "key", "no JSON object with a key"),
        ('{"other": 1}', "item", "no JSON object with an item"),
        ('{"reply": 1} {"reply": 2}', "key", "2 JSON objects with keys"),
        ("{" * 300, "key", "more than 200 opening brackets"),
        ("x" * 65_537, "key", "an answer of more than 65536 characters"),
        ('{"reply": ' + "[" * 60_000, "key", "no JSON object with a key"),
    ],
)
def test_why_there_is_none(text, noun, reason):
    assert find_object(text, ["reply"], noun) == (None, reason)


def test_a_key_that_stands_twice_has_no_value():
    found, _ = find_object('{"reply": "a", "reply": "b", "more": 1}', ["reply"], "key")
    assert isinstance(found["reply"], Twice)
    assert found["more"] == 1
