"""The evaluation's configuration: what is refused, by field."""

import pytest

from dignified_jax.evaluation import config
from dignified_jax.typed_config import ConfigError

MODELS = ("before=a", "after=b")


def parse(**values):
    return config.parse({"models": MODELS} | values)


def test_there_and_back():
    found = parse(judging={"judges": ("rules-strict",)}, scoring={"baseline": "after"})
    assert config.parse(config.as_dict(found)) == found
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
        ({"scoring": {"replicates": 1}}, "scoring.replicates must be at least 2"),
        ({"scoring": {"baseline": "x"}}, "scoring.baseline must be one of before, after"),
        ({"scoring": {"method": "bayes"}}, "scoring.method"),
        ({"until": "score"}, "until must be one of"),
        ({"workdir": ""}, "workdir must not be empty"),
        ({"modles": MODELS}, "modles"),
    ],
)
def test_refusals(values, message):
    with pytest.raises(ConfigError) as error:
        parse(**values)
    assert message in str(error.value)


def test_names_of_files():
    assert config.file_name("openai/gpt-4.1", "x") == "openai-gpt-4.1-x"
    assert config.file_name("../..", "x") == "model-x"
    assert config.file_name("\u732b", "x") == "model-x"


def test_a_label_before_the_judge():
    assert config.named("me=local:dir=odd", "judging.judges") == ("me", "local:dir=odd")
    assert config.named("openai/gpt-4.1", "judging.judges") == ("openai/gpt-4.1",) * 2
