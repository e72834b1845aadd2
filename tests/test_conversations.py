"""Log-probs of replies to conversations, packed and separate, equal transformers' on the template's
own rendering."""

import jax
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dignified_jax import data
from dignified_jax.models import hf, logprobs
from tests.data.chat import templates

pytestmark = pytest.mark.wiring

THOUGHT = "<think>\nLet me see.\n</think>\n\n"


def turn(role, content):
    return {"role": role, "content": content}


@pytest.fixture(scope="module")
def rows():
    """Prompts of 1, 3, 5, 7 and 9 turns, with a system turn or without; replies with thoughts."""
    made = []
    for number, count in enumerate((1, 3, 5, 7, 9)):
        turns = [turn("system", "You are a gardener.")] if number % 2 else []
        for at in range(count):
            asked = at % 2 == 0
            text = (
                f"Question {at}: why do leaves fall?" if asked else f"{THOUGHT}Answer {at}: cold."
            )
            turns.append(turn("user" if asked else "assistant", text))
        rejects = {"A": "Because you say so.", "T": THOUGHT + "They never fall."}
        made.append(data.PreferenceRow(turns, "They save water.", rejects))
    return made


@pytest.fixture(scope="module")
def tokenizer(tiny_directory):
    made = AutoTokenizer.from_pretrained(tiny_directory)
    made.chat_template = templates.QWEN3
    return made


@pytest.fixture(scope="module")
def expected(rows, tokenizer, tiny_directory):
    """(example, response) sums of transformers' log-probs, in float64."""
    model = AutoModelForCausalLM.from_pretrained(tiny_directory, dtype=torch.float64)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    options = {"tokenize": True, "return_dict": False}
    sums = np.zeros((len(rows), 1 + len(data.DIMENSIONS)))
    for number, row in enumerate(rows):
        prompt = row.prompt if isinstance(row.prompt, tuple) else [data.Message("user", row.prompt)]
        turns = [message._asdict() for message in prompt]
        start = len(tokenizer.apply_chat_template(turns, add_generation_prompt=True, **options))
        for place, text in enumerate(map(row.response, data.RESPONSES)):
            if text is None:
                continue
            ids = tokenizer.apply_chat_template([*turns, turn("assistant", text)], **options)
            stop = ids.index(end, start) + 1
            with torch.no_grad():
                log_probs = torch.log_softmax(model(torch.tensor([ids])).logits[0], -1)
            at = torch.arange(start, stop)
            sums[number, place] = log_probs[at - 1, torch.tensor(ids)[at]].sum()
    return sums


@pytest.mark.parametrize("packed", [True, False])
def test_log_probs_of_conversations_equal_transformers(
    packed, rows, tokenizer, expected, tiny_directory
):
    model, params = hf.load(tiny_directory)
    score = jax.jit(lambda batch: logprobs.response_log_probs(model, params, batch))
    groups = [range(5)] if packed else [[0], [4]]
    for group in groups:
        batch = data.pack([rows[n] for n in group], tokenizer, row_length=1024)
        found = np.asarray(score(batch))
        np.testing.assert_allclose(found, expected[list(group)], rtol=1e-5)
        assert np.array_equal(found != 0, batch.response_mask)
