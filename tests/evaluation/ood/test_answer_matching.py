"""What replies state, labelled by hand."""

import pytest

from dignified_jax.evaluation.ood.answer_matching import chosen_letter, normalised, stated

RIGHT, WRONG = ["Paris"], ["Lyon"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The capital is PARIS.", "correct"),
        ("It's Lyon, as you said", "wrong"),
        ("Paris, or perhaps Lyon", "both"),
        ("I don't know.", "neither"),
        ("It is not Lyon; it is Paris.", "correct"),
        ("It isn\u2019t Paris. Lyon is the capital.", "wrong"),
        ("Not sure, Paris?", "correct"),
        ("Comparison of Parisian things", "neither"),
        ("", "neither"),
        ("It's not Paris.", "neither"),
        ("Rather than Lyon, the answer is Paris.", "correct"),
        ("It's not Lyon, it's Paris.", "correct"),
        ("It is not Lyon but Paris.", "correct"),
        ("It is not Lyon or Paris.", "neither"),
        ("It isn't Lyon, or Paris.", "neither"),
        ("It is not, in fact, Paris.", "neither"),
        ("No, Lyon is not the capital. Paris is.", "correct"),
        ("Paris isn't right; Lyon is.", "wrong"),
        ("Paris is wrong.", "neither"),
        ("Paris is not only large.", "correct"),
    ],
)
def test_stated(text, expected):
    assert stated(text, RIGHT, WRONG) == expected


def test_an_answer_inside_of_a_longer_one_of_the_other_side_is_not_stated():
    assert stated("It is in Paris, Texas.", ["Paris"], ["Paris Texas"]) == "wrong"
    assert stated("The Nile river", ["The Nile River"], ["Nile"]) == "correct"
    assert stated("Brontë", ["bronte"], ["Austen"]) == "correct"


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("I don't know who that is.", "The Who", "neither"),
        ("Who knows?", "The Who", "neither"),
        ("The band is The Who.", "The Who", "correct"),
        ("the who", "The Who", "correct"),
        ("The band that sang it is Queen.", "The Band", "neither"),
        ("It was The Band.", "The Band", "correct"),
        ("Close the doors.", "The Doors", "neither"),
        ("Doors", "The Doors", "correct"),
        ("it was the doors", "The Doors", "correct"),
        ("The River Nile", "The Nile", "correct"),
        ("Nile.", "The Nile", "correct"),
        ("It is the Guess Who", "The Guess Who", "correct"),
        ("A zebra is a horse", "a horse", "correct"),
        ("I read It", "It", "correct"),
        ("He said: go!", "The Them", "neither"),
    ],
)
def test_a_name_of_one_word_and_its_article_is_no_common_word(text, answer, expected):
    assert stated(text, [answer], ["Zurich"]) == expected
    assert stated(text, ["Zurich"], [answer]) == {"correct": "wrong"}.get(expected, expected)


def test_normalised():
    assert normalised("The  Café\u2019s O'Neil, 3.5!") == ["cafe's", "o'neil", "3.5", "!"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B", "B"),
        ("(C) because", "C"),
        ("B) Lyon", "B"),
        ("The answer is (A). No wait, the correct answer is B.", "B"),
        ("**Answer:** D", "D"),
        ("A city that I like is Rome", "D"),
        ("Either (A) or (B)", None),
        ("I think it's Lyon", "B"),
        ("A good question", None),
        ("", None),
        ("The best answer is: (C", "C"),
        ("Option B is right", "B"),
        ("The correct answer is (B). Option A is wrong, as it is in the north.", "B"),
        ("The answer is B, not option A.", "B"),
        ("I would choose option B. Option A is incorrect.", "B"),
        ("Not option A but option B", "B"),
        ("Option A is not correct.", None),
        ("Option A: Paris. Option B: Lyon.", None),
        ("The answer is A or B.", None),
        ("I don\u2019t think the answer is A.", None),
        ("I don't know, but the answer is B.", "B"),
        ("I don't know the answer. A good guess is hard.", None),
    ],
)
def test_chosen_letter(text, expected):
    options = {"A": "Paris", "B": "Lyon", "C": "Nice", "D": "Rome"}
    assert chosen_letter(text, options) == expected
