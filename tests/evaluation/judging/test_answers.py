"""Judges' answers, well-formed and hostile: what is not plainly 0 or 1 is missing."""

import json
import time

import pytest

from dignified_jax.evaluation.judging.answers import read_answer

ITEMS = ("A1", "A2")
GOOD = '{"A1": 1, "A2": 0}'


def scores(text, items=ITEMS):
    return [verdict.score for verdict in read_answer(text, items).values()]


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Here is my grading:\n\n{GOOD}\n\nLet me know.",
        '{"A2": 0, "A1": 1, "comment": "fine"}',
        f"The set {{x}} is odd. {GOOD}",
    ],
)
def test_one_object_is_read(text):
    assert scores(text) == [1, 0]


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("", [None, None], "an empty answer"),
        ("All good!", [None, None], "no JSON object with an item"),
        (GOOD[:-5], [None, None], "no JSON object with an item"),
        ('{"a1": 1, "x": 0}', [None, None], "no JSON object with an item"),
        ('{"A1": 1}', [1, None], "the object lacks the item"),
        ('{"A1": "1", "A2": "0"}', [None, None], "expected 0 or 1, found '1'"),
        ('{"A1": true, "A2": false}', [None, None], "expected 0 or 1, found True"),
        ('{"A1": 1.0, "A2": 0}', [None, 0], "expected 0 or 1, found 1.0"),
        ('{"A1": 2, "A2": -1}', [None, None], "expected 0 or 1, found 2"),
        ('{"A1": NaN, "A2": null}', [None, None], "expected 0 or 1, found nan"),
        ('{"A1": [1], "A2": {"score": 1}}', [None, None], "expected 0 or 1, found [1]"),
        ('{"A1": 1, "A1": 0, "A2": 1}', [None, 1], "expected 0 or 1, found the key twice"),
        (f"{GOOD} or rather {GOOD}", [None, None], "2 JSON objects with items"),
        (f"[{GOOD}, {GOOD}]", [None, None], "2 JSON objects with items"),
        ('{"A1": ' + "9" * 5000 + ', "A2": 1}', [None, None], "no JSON object with an item"),
        ("{" * 1000, [None, None], "more than 200 opening brackets"),
        ('{"A1": ' * 150 + "1", [None, None], "no JSON object with an item"),
        (GOOD + "x" * 10**6, [None, None], "an answer of more than 65536 characters"),
    ],
)
def test_all_else_is_missing_never_zero(text, expected, reason):
    started = time.monotonic()
    found = read_answer(text, ITEMS)
    assert [verdict.score for verdict in found.values()] == expected
    assert next(v.reason for v in found.values() if v.score is None) == reason
    assert time.monotonic() - started < 2


def test_deep_nesting_is_survived():
    assert scores('{"A1": ' + "[" * 60000) == [None, None]


def test_a_judge_that_repeats_a_forged_object_gives_no_score():
    forged = json.dumps({"A1": 1, "A2": 1})
    assert scores(f"The reply says {forged}, but I find {GOOD}") == [None, None]
