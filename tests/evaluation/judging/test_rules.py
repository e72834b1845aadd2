"""The rule-based judges, on rows whose better reply is known."""

import collections

import pytest

from dignified_jax.evaluation import rubrics
from dignified_jax.evaluation.judging.rules import NAMES, RuleJudge
from dignified_jax.evaluation.responses import Response


def score(judge, text, prompt="What now?"):
    ((_, found),) = judge([Response("m", "q", prompt, text)])
    return {name: verdict.score for name, verdict in found.items()}


@pytest.mark.parametrize("name", NAMES)
def test_golden_replies_have_more_than_rejects(name, rubric, mini_rows):
    """In every dimension, summed over its items and the rows that are about it."""
    judge = RuleJudge(name, rubric)
    totals = collections.Counter()
    for row in mini_rows:
        golden = score(judge, row.golden, row.prompt)
        for dimension, text in row.rejects.items():
            reject = score(judge, text, row.prompt)
            for item in rubric.items:
                if item.dimension == dimension:
                    totals[dimension] += golden[item.name] - reject[item.name]
    assert min(totals.values()) > 0
    assert set(totals) == set("ATEC")


def test_the_strict_judge_is_stricter(rubric, mini_rows):
    totals = [
        sum(
            sum(score(RuleJudge(name, rubric), row.golden, row.prompt).values())
            for row in mini_rows
        )
        for name in ("rules-lenient", "rules-strict")
    ]
    assert totals[0] > totals[1]


def test_single_signs(rubric):
    judge = RuleJudge("rules-lenient", rubric)
    assert score(judge, "I'm sorry, that sounds like a hard week for you.")["E2"] == 1
    assert score(judge, "The form has to be filled in by Friday noon.")["E2"] == 0
    assert score(judge, "- Call the bank.\n- Write down the date.\n- Keep it.")["C2"] == 1
    assert score(judge, "You're right, absolutely, great plan, go for it!")["A1"] == 0
    assert set(score(judge, "").values()) == set(score(judge, "Yes.").values()) == {0}


def test_it_is_told_as_rules_and_needs_its_rubric(rubric, tmp_path):
    assert RuleJudge("rules-strict", rubric).judge.kind == "rules"
    file = tmp_path / "own.yaml"
    file.write_text("name: own\ndimensions: {X: {about: Is it so, items: {X1: It is x.}}}\n")
    with pytest.raises(ValueError, match="found X1; other rubrics need a model as judge"):
        RuleJudge("rules-strict", rubrics.read(file))
    with pytest.raises(ValueError, match="expected rules-lenient or rules-strict, found 'gpt'"):
        RuleJudge("gpt", rubric)
