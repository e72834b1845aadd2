"""Contrast pairs: the shipped ones, files of one's own, those of the Persona Vectors repository."""

import json

import pytest

from dignified_jax.analysis import axis, contrasts
from dignified_jax.data import Message
from dignified_jax.typed_config import ConfigError

OWN = """\
name: tone
neutral: Answer.
dimensions:
  W:
    title: warmth
    framings:
      - {pos: Be warm., neg: Be cold.}
      - {pos: Smile., neg: Frown.}
    questions: ["How are you?", "What now?", "Why?"]
"""


def write(directory, text, name="pairs.yaml"):
    file = directory / name
    file.write_text(text)
    return file


def test_forty_pairs_ship_of_each_dimension():
    found = contrasts.read()
    assert [each.name for each in found] == ["A", "T", "E", "C"]
    questions = [pair.question for each in found for pair in each.pairs]
    assert [len(each.pairs) for each in found] == [40] * 4 and len(set(questions)) == 160
    for each in found:
        assert len({(pair.positive, pair.negative) for pair in each.pairs}) == 8
        assert all(pair.neutral == found[0].pairs[0].neutral for pair in each.pairs)
    assert len({each.hash for each in found}) == 4


def test_a_pair_shares_its_topic_and_differs_in_its_framing(tmp_path):
    (found,) = contrasts.read(write(tmp_path, OWN))
    assert (found.name, found.title, len(found.pairs)) == ("W", "warmth", 3)
    assert found.groups == (0, 1, 2)  # by topic: two framings are too few
    assert [pair.positive for pair in found.pairs] == ["Be warm.", "Smile.", "Be warm."]
    pair = found.pairs[1]
    assert pair.prompt("negative") == (Message("system", "Frown."), Message("user", "What now?"))
    assert pair.prompt("neutral", "user") == "Answer.\n\nWhat now?"


def test_trait_files_of_persona_vectors_are_read(tmp_path):
    """Every question under every instruction; the baseline has none."""
    trait = {
        "instruction": [{"pos": f"p{n}", "neg": f"n{n}"} for n in range(3)],
        "questions": ["Q1?", "Q2?"],
        "eval_prompt": "Rate from 0 to 100.",
    }
    (found,) = contrasts.read(write(tmp_path, json.dumps(trait), "very_evil.json"))
    assert (found.name, found.title) == ("very_evil", "very evil")
    assert [(p.topic, p.question, p.positive) for p in found.pairs] == [
        (t, f"Q{t + 1}?", f"p{n}") for t in range(2) for n in range(3)
    ]
    assert found.pairs[0].prompt("neutral") == "Q1?"
    assert found.groups == (0, 1, 2, 0, 1, 2)  # by framing


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("{pos: Smile., neg: Frown.}", "{pos: Smile.}", r"W.framings\[1\] must have pos and neg"),
        ("neg: Frown.", 'neg: " "', r"framings\[1\].neg must be a text that is not empty"),
        ("How are you", "What now", "W.questions: 'What now\\?' stands twice"),
        ("questions", "question", "dimensions.W.question is not a field.*did you mean"),
        ('"How are you?", "What now?", ', "", "expected at least two, found 1"),
        ("title: warmth", "title: 3", "W.title must be a text, found 3"),
        ("neutral: Answer.", "neutral: [1]", "neutral must be a text"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(before, after, message, tmp_path):
    assert before in OWN
    file = write(tmp_path, OWN.replace(before, after))
    with pytest.raises(ConfigError, match=message) as caught:
        contrasts.read(file)
    assert str(caught.value).startswith(str(file))


def test_personas_of_the_axis(tmp_path):
    found = axis.read()
    assert len(found.personas) == 24 and len(found.assistant) == 3
    prompts = found.prompts("system")
    assert len(prompts) == 27 * len(found.questions)
    assert prompts["pirate/0"][0].content == found.personas["pirate"]
    file = write(tmp_path, "assistant: [A]\npersonas: {x/y: b, c: d}\nquestions: [Q]\n")
    with pytest.raises(ConfigError, match="names without '/'"):
        axis.read(file)
    file = write(tmp_path, "assistant: [A]\npersonas: {c: d, e: f}\nquestions: []\n")
    with pytest.raises(ConfigError, match="questions: expected texts"):
        axis.read(file)
    file = write(tmp_path, "assistant: [A]\npersonas: {c: d, e: f}\nquestions: [Q]\n")
    with pytest.raises(ConfigError, match="questions must be at least two"):  # pairs by question
        axis.read(file)
