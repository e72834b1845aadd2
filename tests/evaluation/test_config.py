"""The evaluation's configuration: what is refused, by field."""

import re

import pytest

from dignified_jax import typed_config
from dignified_jax.evaluation import config, entries
from dignified_jax.typed_config import ConfigError

MODELS = ("before=a", "after=b")


def parse(**values):
    return config.parse({"models": MODELS} | values)


def test_there_and_back():
    found = parse(judging={"judges": ("rules-strict",)}, scoring={"baseline": "after"})
    assert config.parse(typed_config.as_dict(found)) == found
    assert found.judging.endpoint().items_per_call == 12
    assert found.judging.local().answers == ("Yes", "No")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"models": ()}, "models must be given, or a table of ratings"),
        ({"ratings": "r.csv"}, "models must be given, or a table of ratings"),
        ({"models": ("path",)}, "models: expected NAME=PATH, found 'path'"),
        ({"models": ("a=x", "A=y")}, "models: expected distinct names"),
        ({"judging": {"judges": ("rules-strict",) * 2}}, "judging.judges: expected distinct"),
        ({"judging": {"judges": ()}}, "judging.judges needs at least one"),
        ({"judging": {"items_per_call": 0}}, "judging.items_per_call must be at least 1"),
        ({"judging": {"answers": ("Yes",)}}, "judging.answers must be two words"),
        ({"judging": {"judges": ("gpt-4",)}}, "PROVIDER/MODEL of inspect_ai, found 'gpt-4'"),
        ({"judging": {"judges": ("local:",)}}, "local:PATH"),
        ({"models": ("a\nb=x",)}, "models: expected a name of at most 200 characters"),
        ({"models": ("a" * 201 + "=x",)}, "models: expected a name of at most 200 characters"),
        ({"ood": {"judges": ("rules-strict",)}}, "ood.judges: expected names of judging.judges"),
        ({"ood": {"limit": 0}}, "ood.limit must be at least 1"),
        ({"utility": {"few_shots": -1}}, "utility.few_shots"),
        (
            {"models": (), "ratings": "r.csv", "utility": {"tasks": ("t",)}},
            "utility needs models, found a table of ratings",
        ),
        ({"scoring": {"replicates": 1}}, "scoring.replicates must be at least 2"),
        ({"scoring": {"baseline": "x"}}, "scoring.baseline must be one of before, after"),
        ({"scoring": {"method": "bayes"}}, "scoring.method"),
        ({"until": "score"}, "until must be one of"),
        ({"workdir": ""}, "workdir must not be empty"),
        ({"chat_template_kwargs": "[1]"}, "chat_template_kwargs: expected a JSON object"),
        ({"modles": MODELS}, "modles"),
    ],
)
def test_refusals(values, message):
    with pytest.raises(ConfigError) as error:
        parse(**values)
    assert message in str(error.value)


def test_names_of_files():
    assert entries.file_name("gpt-4.1", "x") == "gpt-4.1-x"
    labels = (
        "openai/gpt-4.1",
        "openai-gpt-4.1",
        "../..",
        "..",
        "\u732b",
        "\u72ac",
        "a" * 90,
        "a" * 91,
    )
    names = [entries.file_name(label, "x") for label in labels]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[\w][\w.-]{0,80}", name, re.ASCII) for name in names)


def test_a_label_before_the_judge():
    assert entries.named("me=local:dir=odd", "judging.judges") == ("me", "local:dir=odd")
    assert entries.named("openai/gpt-4.1", "judging.judges") == ("openai/gpt-4.1",) * 2
