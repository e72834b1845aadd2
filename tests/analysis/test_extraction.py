"""Which tokens of which texts are read, against the chat template's own."""

import dataclasses
import pathlib

import numpy as np
import pytest
import torch

from dignified_jax.analysis import contrasts, extraction, responses, states
from dignified_jax.analysis.extraction import Extraction
from dignified_jax.analysis.responses import Place
from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.evaluation.models import LoadedModel
from dignified_jax.generation.prompts import PromptsError
from dignified_jax.models import hf
from tests.analysis.test_contrasts import OWN, write

pytestmark = pytest.mark.wiring

ANSWER = "We wait, and then we go on."
PLACE = Place(pathlib.Path("unused"), "W")


@pytest.fixture(scope="module")
def model(tiny_directory):
    return LoadedModel("m", "digest", *hf.load(tiny_directory), load_tokenizer(tiny_directory))


@pytest.fixture
def pairs(tmp_path):
    return contrasts.read(write(tmp_path, OWN))[0]


@pytest.fixture
def answered(monkeypatch):
    """Every prompt is answered alike; those asked are listed."""
    asked = {}

    def respond(model, prompts, settings, place, notify, steering=None):
        asked.update(prompts)
        return dict.fromkeys(prompts, ANSWER)

    monkeypatch.setattr(responses, "respond", respond)
    return asked


def ids_of(model, turns, answer):
    """Token ids of a conversation by transformers, up to the answer's last word."""
    turns = [*turns, {"role": "assistant", "content": answer}]
    whole = model.tokenizer.apply_chat_template(turns, tokenize=False)
    text = whole[: whole.rindex(answer) + len(answer)]
    return model.tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("part", ["response", "bare_response"])
def test_a_response_is_read_after_its_prompt_or_after_the_bare_question(
    part, model, pairs, answered, monkeypatch
):
    """It is generated under the framing either way; without it, equal answers have one state."""
    read = []

    def collect(module, params, readings, progress=None):
        read.extend(readings)
        return np.zeros((len(readings), 1, 1, 1), np.float32)

    monkeypatch.setattr(states, "collect", collect)
    extraction.pair_states(model, pairs, Extraction(part), PLACE.directory, print)
    assert answered["1-negative"][0].content == "Frown." and len(answered) == len(read) == 9
    reading = read[list(answered).index("1-negative")]
    framing = [{"role": "system", "content": "Frown."}] if part == "response" else []
    question = {"role": "user", "content": "What now?"}
    want = ids_of(model, [*framing, question], ANSWER)
    assert list(reading.tokens) == want
    ((start, end),) = reading.spans
    assert model.tokenizer.decode(want[start:end]).strip() == ANSWER
    same = len({tuple(each.tokens) for each in read})
    assert same == (3 if part == "bare_response" else 9)


@pytest.mark.slow
def test_states_of_bare_responses_are_those_of_transformers(model, pairs, answered, tiny_directory):
    """1e-4 of the largest, in float32, mean over the answer's tokens."""
    from transformers import AutoModelForCausalLM

    settings = Extraction("bare_response", placement="user")
    got = extraction.pair_states(model, pairs, settings, PLACE.directory, print).states
    np.testing.assert_allclose(got[:, 0], got[:, 1], atol=1e-5)  # one answer, one state
    reference = AutoModelForCausalLM.from_pretrained(tiny_directory, dtype=torch.float32).eval()
    for number, question in enumerate(["How are you?", "What now?", "Why?"]):
        whole = ids_of(model, [{"role": "user", "content": question}], ANSWER)
        size = len(ids_of(model, [{"role": "user", "content": question}], ANSWER[:1])) - 1
        with torch.no_grad():
            found = reference(torch.tensor([whole]), output_hidden_states=True).hidden_states
        want = np.stack([layer[0, size:].mean(0).numpy() for layer in found[1:-1]])
        np.testing.assert_allclose(got[number, 0, :-1], want, atol=1e-4 * np.abs(want).max())


def test_a_run_is_read_by_the_template_that_it_was_trained_with(model):
    """Arguments of the chat template are the model's."""
    stated = dataclasses.replace(model, template_kwargs={"add_note": True})
    stated.tokenizer.chat_template, before = (
        "{% if add_note %}Note. {% endif %}" + model.tokenizer.chat_template,
        model.tokenizer.chat_template,
    )
    try:
        reading = extraction.prompt_readings(stated, {"a": "What now?"})["a"]
        assert model.tokenizer.decode(reading.tokens).startswith("Note. ")
        (example,) = responses.tokenized(stated, [("What now?", ANSWER)])
        assert model.tokenizer.decode(example.prompt).startswith("Note. ")
    finally:
        model.tokenizer.chat_template = before


def test_prompts_are_tokenized_when_they_are_read(model):
    prompts = {f"p{n}": "What " * n + "now?" for n in range(1, 9)}
    whole = list(extraction.prompt_readings(model, prompts).values())
    lazy = extraction.PromptReadings(tuple(prompts.values()), model.template())
    assert [*lazy[:3], *lazy[3:8]] == whole and len(lazy) == 8
    assert lazy.check(tuple(prompts), 4096) == max(len(each.tokens) for each in whole)
    assert all(each.spans == (states.last_token(each.tokens),) for each in whole)
    (mean,) = extraction.prompt_readings(model, {"a": "Hi"}, "mean_prompt").values()
    assert mean.spans == ((0, len(mean.tokens)),)


def test_prompts_that_no_model_reads_are_named(model):
    most = model.module.config.max_position_embeddings
    prompts = {"short": "Hi", "long": "word " * most}
    with pytest.raises(PromptsError, match=rf"1 of 2 .*\n  long: \d+ tokens, of at most {most}"):
        extraction.prompt_readings(model, prompts)
