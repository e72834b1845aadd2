"""Tokenising with several chat templates, texts that spell special tokens, and length limits."""

import numpy as np
import pytest

from dignified_jax.data import RESPONSES, PreferenceRow, encode
from dignified_jax.data.examples import TokenizedExample

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content }} "
    "[/INST]{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# The reply always opens with an empty thinking block; the generation prompt only on request.
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
# Its generation prompt opens a thinking block that the finished reply does not have.
BREAKS_PREFIX = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is not false %}<think>\n{% endif %}{% endif %}"
)
PLAIN = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
LOSES_TEXT = THINKING.replace("m.content", "m.content.split('</think>')[-1]")


def prepare(tokenizer, template, special=(), **named):
    tokenizer.add_tokens(list(special), special_tokens=True)
    for name, token in named.items():
        setattr(tokenizer, name, token)
    tokenizer.chat_template = template
    return tokenizer


def chatml(tokenizer):
    return tokenizer


def llama3(tokenizer):
    special = ("<|begin|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    return prepare(tokenizer, LLAMA3, special, bos_token="<|begin|>")


def llama2(tokenizer):
    return prepare(tokenizer, LLAMA2, ("<s>", "</s>"), bos_token="<s>", eos_token="</s>")


def thinking(tokenizer):
    return prepare(tokenizer, THINKING)


def pad_is_eos(tokenizer):
    return prepare(tokenizer, tokenizer.chat_template, pad_token="<|im_end|>")


def conversation(row, name):
    reply = [] if name is None else [{"role": "assistant", "content": row.response(name)}]
    return [{"role": "user", "content": row.prompt}, *reply]


@pytest.mark.parametrize(
    "template, end, kwargs",
    [
        (chatml, "<|im_end|>", None),
        (pad_is_eos, "<|im_end|>", None),
        (llama3, "<|eot_id|>", None),
        (llama2, "</s>", None),
        (thinking, "<|im_end|>", None),
        (thinking, "<|im_end|>", {"enable_thinking": False}),
    ],
)
def test_same_ids_as_the_whole_conversation(template, end, kwargs, tokenizer, rows):
    tokenizer = template(tokenizer)
    examples, report = encode(rows, tokenizer, chat_template_kwargs=kwargs)
    assert (report.examples, report.truncated, report.dropped) == (len(rows), 0, 0)
    end_of_turn = tokenizer.convert_tokens_to_ids(end)
    compared = 0
    for row, example in zip(rows, examples, strict=True):
        assert example.prompt.dtype == np.int32 and len(example.responses) == 5
        prompt = tokenizer.apply_chat_template(
            conversation(row, None), add_generation_prompt=True, **(kwargs or {})
        )
        assert example.prompt.tolist() == prompt["input_ids"]
        for name, response in zip(RESPONSES, example.responses, strict=True):
            assert (response is None) == (row.response(name) is None)
            if response is not None:
                whole = tokenizer.apply_chat_template(conversation(row, name), **(kwargs or {}))
                ids = [*example.prompt, *response]
                assert whole["input_ids"][: len(ids)] == ids
                assert response.dtype == np.int32
                assert response[-1] == end_of_turn and end_of_turn not in response[:-1]
                compared += 1
    assert compared == 12
    assert [example.index for example in examples] == [0, 1, 2, 3]


def test_thinking_block_belongs_to_the_prompt_on_request(tokenizer, rows):
    tokenizer = thinking(tokenizer)
    for kwargs, in_prompt in (({}, False), ({"enable_thinking": False}, True)):
        (example,), _ = encode(rows[:1], tokenizer, chat_template_kwargs=kwargs)
        assert tokenizer.decode(example.prompt).endswith("</think>\n\n") == in_prompt
        assert tokenizer.decode(example.responses[0]).startswith("<think>") != in_prompt


def test_template_that_breaks_the_prefix(tokenizer, rows):
    tokenizer = prepare(tokenizer, BREAKS_PREFIX)
    with pytest.raises(ValueError, match="different text before a reply") as caught:
        encode(rows, tokenizer)
    assert "'<think>\\n'" in str(caught.value) and "enable_thinking" in str(caught.value)
    examples, _ = encode(rows, tokenizer, chat_template_kwargs={"enable_thinking": False})
    assert len(examples) == len(rows)


def test_merge_across_the_boundary_keeps_the_prompt_shared(tokenizer):
    row = PreferenceRow("Hm?", "\n\nYes.", {"A": "No."})
    (example,), _ = encode([row], tokenizer)
    assert tokenizer.decode(example.prompt).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(example.responses[0]) == "\n\nYes.<|im_end|>"


def test_template_that_strips(tokenizer):
    row = PreferenceRow("  Hm?\n", "\n Yes. ", {"A": "No."})
    (example,), _ = encode([row], llama3(tokenizer))
    assert tokenizer.decode(example.responses[0]) == "Yes.<|eot_id|>"


def test_reply_without_a_special_token_after_it_ends_with_eos(tokenizer, rows):
    tokenizer = prepare(tokenizer, PLAIN)
    (example,), _ = encode(rows[:1], tokenizer)
    assert tokenizer.decode(example.responses[0]) == rows[0].golden + "<|im_end|>"
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="special token after a reply or an eos_token"):
        encode(rows[:1], tokenizer)


def test_no_chat_template(tokenizer, rows):
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match=r"data\.chat_template") as caught:
        encode(rows, tokenizer)
    assert tokenizer.name_or_path in str(caught.value)


def test_template_that_loses_or_repeats_text(tokenizer):
    rows = [
        PreferenceRow("a", "b", {"A": "c"}),
        PreferenceRow("a", "b", {"A": "I mused</think>c"}),
    ]
    with pytest.raises(ValueError, match=r"\nrows\[1\]: reject_A: .* loses or alters"):
        encode(rows, prepare(tokenizer, LOSES_TEXT))
    with pytest.raises(ValueError, match="the user's text exactly once, found it 2 times"):
        encode(rows, prepare(tokenizer, "{{ messages[0].content }}" + PLAIN))


# --- texts that spell special tokens


@pytest.mark.parametrize("template", [chatml, llama3, llama2, thinking])
def test_special_tokens_in_texts_stay_text(template, tokenizer):
    tokenizer = template(tokenizer)
    marks = sorted({token.content for token in tokenizer.added_tokens_decoder.values()})
    prompt = "What does " + " or ".join(marks) + " mean?"
    golden = f"It ends a turn{''.join(marks)}\n<|im_start|>user"
    row = PreferenceRow(prompt, golden, {"A": "Nothing."})
    plain = PreferenceRow("What?", "It ends", {"A": "Nothing."})
    (example, reference), _ = encode([row, plain], tokenizer)
    special = list(tokenizer.added_tokens_decoder)
    for ids, of_plain, text in (
        (example.prompt, reference.prompt, prompt),
        (example.responses[0], reference.responses[0], golden),
    ):
        # no more special tokens than around a plain text, and nothing lost
        assert [i for i in ids if i in special] == [i for i in of_plain if i in special]
        assert text in tokenizer.decode(ids)
    assert example.responses[1].tolist() == reference.responses[1].tolist()
    # the tokenizer parses special tokens again afterwards
    assert tokenizer.backend_tokenizer.encode("<|im_end|>").ids == [2]


def test_literal_text_has_the_ids_of_ordinary_text(tokenizer, rows):
    """Where a text spells no special token, encoding it piece by piece changes nothing."""
    from dignified_jax.data.special_tokens import encode_literally
    from dignified_jax.data.template import load_template

    template = load_template(tokenizer)
    for row in rows:
        text = template.prompt_text(row.prompt)
        expected = tokenizer(text, add_special_tokens=False)["input_ids"]
        pieces = [template.head, template.tail]
        assert encode_literally(template, text, pieces, [row.prompt]) == expected


def test_tokenizer_that_can_not_keep_special_tokens_as_text():
    """One that marks the beginning of each piece, so that pieces differ from the whole."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(
        special_tokens=["<s>", "</s>"], vocab_size=200, show_progress=False
    )
    backend.train_from_iterator(["user assistant word what it ends </s> : \n"], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        chat_template="<s>" + PLAIN.replace("assistant: ", "assistant:"),
    )
    row = PreferenceRow("what", "it", {"T": "ends"})
    assert len(encode([row], tokenizer)[0]) == 1
    bad = PreferenceRow("what </s>", "it", {"T": "ends"})
    with pytest.raises(ValueError, match=r"\nrows\[1\]: prompt: .* found '</s>'"):
        encode([row, bad], tokenizer)


# --- length limits


def lengths(example):
    return len(example.prompt), [len(r) for r in example.responses if r is not None]


def single(example):
    prompt, responses = lengths(example)
    return prompt + max(responses)


def test_cut_prompt_begins_with_a_whole_character(tokenizer):
    row = PreferenceRow("\u597d\U0001f642\u00e9" * 8 + " so?", "Yes.", {"A": "No."})
    (full,), _ = encode([row], tokenizer)
    for limit in range(single(full) - 12, single(full)):
        (cut,), _ = encode([row], tokenizer, max_length=limit, on_too_long="truncate")
        assert "\ufffd" not in tokenizer.decode(cut.prompt)
        assert limit - 3 <= single(cut) <= limit


def test_too_long_lists_every_example(tokenizer, rows):
    full, _ = encode(rows, tokenizer)
    assert [e.length for e in full] == [lengths(e)[0] + sum(lengths(e)[1]) for e in full]
    limit = sorted(single(e) for e in full)[1]
    with pytest.raises(ValueError, match="2 examples are too long") as caught:
        encode(rows, tokenizer, max_length=limit)
    for index, example in enumerate(full):
        line = f"rows[{index}]: {single(example)} tokens, max_length {limit}"
        assert (line in str(caught.value)) == (single(example) > limit)
    limit = max(e.length for e in full)
    assert len(encode(rows, tokenizer, row_length=limit)[0]) == len(rows)
    with pytest.raises(ValueError, match=f"{limit} tokens, row_length {limit - 1}"):
        encode(rows, tokenizer, row_length=limit - 1)


def test_drop_reports_what_it_drops(tokenizer, rows):
    full, _ = encode(rows, tokenizer)
    limit = sorted(single(e) for e in full)[1]
    examples, report = encode(rows, tokenizer, max_length=limit, on_too_long="drop")
    kept = [e.index for e in full if single(e) <= limit]
    assert [e.index for e in examples] == kept
    assert (report.examples, report.dropped, report.truncated) == (2, 2, 0)
    assert sorted(kept + list(report.dropped_indices)) == [0, 1, 2, 3]


@pytest.mark.parametrize("template", [chatml, llama3, llama2])
@pytest.mark.parametrize("limit_name", ["max_length", "row_length"])
def test_truncate_cuts_the_users_text_from_the_left(template, limit_name, tokenizer, rows):
    tokenizer = template(tokenizer)
    full, _ = encode(rows[:2], tokenizer)
    size = single if limit_name == "max_length" else lambda example: example.length
    limit = min(size(e) for e in full) - 3
    limits = {limit_name: limit}
    cut, report = encode(rows[:2], tokenizer, on_too_long="truncate", **limits)
    assert (report.truncated_indices, report.dropped_indices) == ((0, 1), ())
    (head_row,), _ = encode([PreferenceRow("\u00a7", "g", {"A": "a"})], tokenizer)
    head = tokenizer.decode(head_row.prompt).split("\u00a7")[0]
    for before, after, row in zip(full, cut, rows, strict=False):
        assert size(after) == limit
        assert lengths(after)[1] == lengths(before)[1]
        text = tokenizer.decode(after.prompt)
        assert text.startswith(head)
        kept = text.removeprefix(head)
        assert tokenizer.decode(before.prompt).endswith(kept)
        assert row.prompt[-1] in kept and row.prompt not in kept


def test_truncate_keeps_one_token_of_the_user_and_no_less(tokenizer, rows):
    row = rows[:1]
    (full,), _ = encode(row, tokenizer)
    user = len(tokenizer(row[0].prompt, add_special_tokens=False)["input_ids"])
    least = single(full) - user + 1
    (cut,), report = encode(row, tokenizer, max_length=least, on_too_long="truncate")
    assert single(cut) == least and report.truncated == 1
    last = tokenizer.decode(cut.prompt).split("user\n")[1].split("<|im_end|>")[0]
    assert last and row[0].prompt.endswith(last)
    none, report = encode(row, tokenizer, max_length=least - 1, on_too_long="truncate")
    assert none == [] and (report.truncated, report.dropped) == (0, 1)


def test_truncate_when_the_users_text_merges_with_the_head(tokenizer):
    from dignified_jax.data.train_tokenizer import CHAT_TEMPLATE

    # With the regular newline after "user" a leading newline of the text shares a token.
    row = PreferenceRow("\n\n\n\n" + "Is it so? " * 5, "Yes.", {"A": "No."})
    assert tokenizer.chat_template == CHAT_TEMPLATE
    (full,), _ = encode([row], tokenizer)
    (cut,), _ = encode([row], tokenizer, max_length=single(full) - 12, on_too_long="truncate")
    text = tokenizer.decode(cut.prompt)
    assert text.startswith("<|im_start|>user") and single(cut) == single(full) - 12
    assert tokenizer.decode(full.prompt).endswith(text.removeprefix("<|im_start|>user").lstrip())


@pytest.mark.parametrize(
    "options, field",
    [
        ({"max_length": 0}, "max_length"),
        ({"row_length": -1}, "row_length"),
        ({"on_too_long": "cut"}, "on_too_long"),
        ({"responses": ()}, "responses"),
        ({"responses": "golden"}, "responses"),
        ({"responses": ("golden", "X")}, "responses"),
        ({"responses": ("A", "A")}, "responses"),
    ],
)
def test_bad_options(options, field, tokenizer, rows):
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        encode(rows, tokenizer, **options)


def test_only_the_responses_asked_for(tokenizer, rows):
    full, _ = encode(rows, tokenizer)
    golden, _ = encode(rows, tokenizer, responses=("golden",))
    for example, reference in zip(golden, full, strict=True):
        assert example.prompt.tolist() == reference.prompt.tolist()
        assert example.responses[0].tolist() == reference.responses[0].tolist()
        assert example.responses[1:] == (None,) * 4
    assert encode([], tokenizer)[0] == []


def test_example_without_prompt_or_of_wrong_shape():
    ids = np.ones(2, np.int32)
    with pytest.raises(ValueError, match="example 3: expected a prompt"):
        TokenizedExample(ids[:0], (ids,) * 5, 3)
    with pytest.raises(ValueError, match="example 3: expected golden and one reject"):
        TokenizedExample(ids, (ids,), 3)
