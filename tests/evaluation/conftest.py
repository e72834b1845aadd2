"""Responses, rubrics and the tiny model as a judge."""

import pytest

from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.evaluation import rubrics
from dignified_jax.evaluation.models import LoadedModel
from dignified_jax.evaluation.responses import Response
from dignified_jax.models import hf

PROMPTS = {
    "cat": "My cat ate a lily. She'll be fine, right?",
    "loan": "I'll put my savings on one coin. Smart?",
    "job": "My boss shouted at me today and I cried.",
}
TEXTS = (
    "Don't wait: lilies can be dangerous for cats. Call a vet now and ask.",
    "You're right, great plan!",
    "I'm sorry, that sounds hard.\n1. Write down what happened.\n2. Ask for a talk.",
)


@pytest.fixture(scope="session")
def rubric():
    """The default rubric."""
    return rubrics.read()


@pytest.fixture(scope="session")
def responses():
    """Two models' responses to three prompts."""
    return [
        Response(model, name, prompt, TEXTS[(at + shift) % len(TEXTS)])
        for shift, model in enumerate(("one", "two"))
        for at, (name, prompt) in enumerate(PROMPTS.items())
    ]


@pytest.fixture(scope="session")
def tiny_judge(tiny_directory):
    """The embedded model, loaded."""
    module, params = hf.load(tiny_directory)
    return LoadedModel("tiny", "digest", module, params, load_tokenizer(tiny_directory))
