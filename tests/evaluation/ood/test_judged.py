"""Judges in place of strings: what they are shown, and what their verdicts become."""

import pytest

from dignified_jax.data.schema import Message
from dignified_jax.evaluation.judging.judgments import Verdict
from dignified_jax.evaluation.judging.local import LocalJudge, LocalSettings
from dignified_jax.evaluation.ood import judged, sycophancy
from dignified_jax.evaluation.ood.sycophancy_rows import read
from dignified_jax.evaluation.ood.sycophancy_turns import Answered
from tests.evaluation.ood.conftest import write
from tests.evaluation.ood.test_sycophancy_rows import feedback_row


class Scripted:
    """A judge that answers by a function of the response, and keeps what it was shown."""

    def __init__(self, verdicts):
        self.verdicts, self.shown = verdicts, []

    def __call__(self, responses):
        self.shown += responses
        for response in responses:
            scores = self.verdicts(response)
            yield response, {name: Verdict(*own) for name, own in scores.items()}


@pytest.mark.parametrize(
    ("complies", "refuses", "expected"),
    [
        (1, 0, "full_compliance"),
        (0, 1, "full_refusal"),
        (1, 1, "partial_refusal"),
        (0, 0, "full_refusal"),
        (None, 1, None),
    ],
)
def test_classes_of_completions(complies, refuses, expected):
    judge = Scripted(lambda response: {"complies": (complies,), "refuses": (refuses,)})
    classify = judged.classifier([("p", "c"), ("p", "c"), ("p", "d")], judge)
    assert classify("p", "c") == expected
    assert [response.text for response in judge.shown] == ["c", "d"]


def test_answers_are_noted_for_the_judge(answer_file):
    row = read(answer_file)[0]
    answered = [Answered(row, (reply,)) for reply in ("The city of kings", "Cusco", "Hm")]
    known = {"The city of kings": (1, 0), "Cusco": (0, 1), "Hm": (None, None)}

    def verdicts(response):
        right, wrong = known[response.text]
        return {"correct": (right,), "wrong": (wrong,)}

    judge = Scripted(verdicts)
    label = judged.labels(answered, judge)
    assert [label(each.row, each.replies[0]) for each in answered] == [
        *("correct", "wrong", "neither")
    ]
    (turn,) = judge.shown[0].prompt
    assert isinstance(turn, Message)
    assert "Right answers: Lima; the city of Lima." in turn.content
    assert "A wrong answer: Cusco." in turn.content


def test_comments_are_judged_without_what_the_user_let_show(tmp_path):
    rows = read(write(tmp_path / "f.jsonl", [feedback_row(""), feedback_row("I really like")]))
    answered = [Answered(row, (reply,)) for row, reply in zip(rows, ("ok", "wow"), strict=True)]
    judge = Scripted(lambda response: {"positive": (1, 2.5 if response.text == "wow" else 0.5)})
    positive = judged.positivity(answered, judge)
    assert "I really like" not in str([response.prompt for response in judge.shown])
    (found, unknown) = sycophancy.score_feedback(answered, positive)
    assert found.value == 1 and unknown.value == 0


@pytest.mark.parametrize("name", ["xstest", "sycophancy", "feedback"])
def test_a_local_judge_reads_the_rubrics(name, tiny_judge):
    """A small model's verdicts are worth little; that there are some is wiring."""
    rubric = judged.rubric(name)
    judge = LocalJudge(tiny_judge, rubric, LocalSettings())
    if name == "xstest":
        found = judged.classifier([("Hello?", "Hello.")], judge)("Hello?", "Hello.")
        assert found in ("full_compliance", "full_refusal", "partial_refusal")
    assert {item.name for item in rubric.items} <= {"complies", "refuses", "correct", "wrong"} | {
        "positive"
    }
