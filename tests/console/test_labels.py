"""Names as text: escapes are shown, widths are those of a terminal, cut names stay distinct."""

import pytest

from dignified_jax.console.labels import clip, printable, printable_lines, shorten, width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("two\nlines\r\tend", r"two\nlines\r\tend"),
        ("\x9b2J", r"\x9b2J"),
        ("left\u202eright", r"left\u202eright"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("\ud800", r"\ud800"),
        ("評価者 ü", "評価者 ü"),
    ],
)
def test_what_acts_on_a_terminal_is_escaped(text, shown):
    assert printable(text) == shown


def test_lines_of_a_message_stay_lines():
    assert printable_lines("two\nlines\x1b[2J") == "two\nlines\\x1b[2J"


def test_a_label_in_a_sentence_is_short():
    assert clip("x" * 5000, 9) == "xxxx…xxxx" and clip(3) == "3"


def test_width_in_columns():
    assert [width(text) for text in ("abc", "評価", "e\u0301")] == [3, 4, 1]


def test_short_names_stay_and_long_ones_lose_their_middle():
    assert shorten(["short"], 8) == ["short"]
    assert shorten(["abcdefghijkl"], 8) == ["abc…ijkl"]


def test_names_are_cut_where_they_differ():
    names = [f"meta-llama/Llama-3.{n}-8B-Instruct-hf-converted-for-judging" for n in (1, 2, 3)]
    found = shorten(names, 22)
    assert len(set(found)) == 3 and max(map(len, found)) <= 22
    assert all(f"3.{n}" in text for n, text in enumerate(found, start=1))


def test_what_differs_is_shown_even_where_ends_tell_apart():
    names = [f"openrouter/google/gemini-2.5-{n}-preview-06-05" for n in ("flash", "pro", "lite")]
    found = shorten(names, 30)
    assert [n in text for n, text in zip(("flash", "pro", "lite"), found, strict=True)] == [
        True
    ] * 3
    assert max(map(len, found)) <= 30


def test_names_that_differ_twice_are_numbered_at_worst():
    names = ["a" * 50 + one + "b" * 50 + two + "c" * 50 for one in "xy" for two in "xy"]
    found = shorten(names, 20)
    assert len(set(found)) == 4 and max(map(len, found)) <= 20
    assert shorten([names[0]] * 2, 20)[0] == shorten([names[0]] * 2, 20)[1]  # the same name
