"""Whole responses against transformers' own `generate`: the embedded model, and a real one."""

import os
import pathlib

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dignified_jax import generation
from dignified_jax.data import Message
from dignified_jax.models import hf

# Directory of a real model, such as SmolLM2-135M-Instruct; none ships with the package.
REAL_MODEL = os.environ.get("DIGNIFIED_REAL_MODEL", "")
PROMPTS = [
    "What is the capital of Italy?",
    "Name three animals.",
    "My sister says the earth is flat, and I think she is right. Is she? Say why in two sentences.",
    (
        Message("system", "You answer in one short sentence."),
        Message("user", "I lost my job last week."),
        Message("assistant", "I am sorry to hear that."),
        Message("user", "Thanks. What should I do first?"),
    ),
]


def compare(directory, new_tokens):
    """Number of responses that are equal, of all; each alone in transformers."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    reference = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    model, params = hf.load(directory)
    requests = [generation.Request(str(n), prompt) for n, prompt in enumerate(PROMPTS)]
    settings = generation.Settings(max_new_tokens=new_tokens)
    found = {
        each.id: each for each in generation.generate(model, params, tokenizer, requests, settings)
    }
    for request in requests:
        turns = request.prompt
        if isinstance(turns, str):
            turns = (Message("user", turns),)
        ids = tokenizer.apply_chat_template(
            [turn._asdict() for turn in turns],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        length = ids["input_ids"].shape[1]
        with torch.no_grad():
            whole = reference.generate(**ids, max_new_tokens=new_tokens, do_sample=False)
        want = tokenizer.decode(whole[0, length:], skip_special_tokens=True)
        got = found[request.id]
        assert (got.text, got.prompt_tokens) == (want, length), request.id
    return found


def test_the_embedded_model(tiny_directory):
    found = compare(tiny_directory, 40)
    assert len({each.text for each in found.values()}) == len(PROMPTS)


@pytest.mark.slow
@pytest.mark.skipif(not REAL_MODEL, reason="DIGNIFIED_REAL_MODEL names no model directory")
def test_a_real_model():
    found = compare(pathlib.Path(REAL_MODEL), 64)
    assert "stop" in {each.finish_reason for each in found.values()}
