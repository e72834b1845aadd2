"""The way in for programs: prompts of every form, errors told at once, stop texts."""

import dataclasses

import pytest

from dignified_jax.data import Message
from dignified_jax.generation import PromptsError, Request, Settings, generate
from dignified_jax.generation.prompts import derived_seed
from dignified_jax.models import hf


@pytest.fixture(scope="module")
def model(tiny_directory):
    return hf.load(tiny_directory)


def respond(model, tokenizer, requests, **settings):
    given = Settings(**{"max_new_tokens": 12, "batch_size": 4} | settings)
    return {each.id: each for each in generate(*model, tokenizer, requests, given)}


def test_a_stop_text_ends_a_response_and_is_no_part_of_it(model, tiny_tokenizer):
    whole = respond(model, tiny_tokenizer, [Request("1", "How are you?")])["1"]
    assert whole.finish_reason == "length" and whole.response_tokens == 12
    stop = whole.text[9:12]
    ended = respond(model, tiny_tokenizer, [Request("1", "How are you?")], stop=(stop,))["1"]
    assert ended.text == whole.text[: whole.text.index(stop)] and ended.finish_reason == "stop"
    assert ended.response_tokens < 12
    ids = tiny_tokenizer(whole.text, add_special_tokens=False)["input_ids"]
    assert tiny_tokenizer.decode(ids[: ended.response_tokens]).count(stop) == 1


def test_a_request_may_have_settings_of_its_own(model, tiny_tokenizer):
    """Turns may be dicts, as files have them, or messages."""
    turns = [{"role": "user", "content": "How are you?"}]
    requests = [
        Request("text", "How are you?", seed=5),
        Request("dicts", turns, seed=5),
        Request("messages", (Message("user", "How are you?"),), seed=5, max_new_tokens=3),
        Request("own", "How are you?"),
    ]
    found = respond(model, tiny_tokenizer, requests, temperature=1.0, seed=3)
    text = dataclasses.replace(found["text"], id="dicts")
    assert found["dicts"] == text and found["messages"].response_tokens == 3
    assert found["text"].text.startswith(found["messages"].text)
    assert found["own"].seed == derived_seed(3, "own") != 5
    assert found["own"].text != found["text"].text


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ([Request("a", "x"), Request("b", "x"), Request("a", "y")], "a: stands twice"),
        (
            [Request("a", "word " * 5000)],
            r"a: \d+ tokens and up to 12 new ones are more than .*4096",
        ),
        ([Request("a", "")], "a: expected a prompt, found an empty one"),
        ([Request("a", ())], "a: expected a prompt, found no tokens"),
        ([Request("a", (1, 9999))], "a: a token is not below 2048"),
        ([Request("a", [{"role": "user"}])], r"a: prompt\[0\]"),
        ([Request("a", "x", stop="END")], "a: stop: expected texts in a tuple, found 'END'"),
        ([Request("a", "x", stop=("END", ""))], "a: stop: expected texts, found an empty one"),
        ([Request("a", "x", max_new_tokens=0)], "a: max_new_tokens: expected at least 1, found 0"),
        ([Request("a", "x", seed=-1)], "a: seed: expected 0 to 4294967295, found -1"),
        ([Request("a", (Message("assistant", "x"),))], "a: prompt.0.: expected the user's turn"),
    ],
)
def test_what_can_not_be_sampled_is_refused_at_once(model, tiny_tokenizer, requests, said):
    with pytest.raises(PromptsError, match=said):
        generate(*model, tiny_tokenizer, requests, Settings(max_new_tokens=12))
