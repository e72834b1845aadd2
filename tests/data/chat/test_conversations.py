"""Conversations have the ids of the template's own rendering, for the templates of known models."""

import copy
import datetime
import importlib.resources
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dignified_jax.data import BadRowsError, PreferenceRow, encode
from dignified_jax.data.schema.conversation import messages_of
from dignified_jax.data.template import load_template
from tests.data.chat import templates
from tests.data.chat.test_row_tokens import (
    CORPUS,
    SPECIAL,
    VISIBLE,
    make_tokenizer,
    without_characters,
)

THOUGHT = "<think>\nhm\n</think>\n\n"
REPLY = st.one_of(VISIBLE, VISIBLE.map(lambda text: THOUGHT + text))


@st.composite
def conversations(draw):
    """1 to 9 turns that end with the user's, with a system turn or without."""
    turns = []
    for number in range(draw(st.sampled_from([1, 3, 5, 7, 9]))):
        role = "user" if number % 2 == 0 else "assistant"
        turns.append({"role": role, "content": draw(VISIBLE if role == "user" else REPLY)})
    if draw(st.booleans()):
        turns.insert(0, {"role": "system", "content": draw(VISIBLE)})
    return turns


def reply(text):
    return [{"role": "assistant", "content": text}]


def spells(texts):
    return any(special in "\n".join(texts) for special in SPECIAL)


@pytest.mark.parametrize("kind", ["bytes", "first", "prepended"])
@pytest.mark.parametrize("name", templates.KNOWN)
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(turns=conversations(), golden=REPLY, thinking=st.sampled_from([None, True, False]))
def test_ids_are_those_of_the_whole_conversation(kind, name, turns, golden, thinking):
    assume(not spells([golden, *(turn["content"] for turn in turns)]))
    tokenizer = make_tokenizer(kind)
    tokenizer.chat_template = templates.KNOWN[name]
    kwargs = {} if thinking is None else {"enable_thinking": thinking}
    options = {"tokenize": True, "return_dict": False, **kwargs}
    before = tokenizer.apply_chat_template(turns, add_generation_prompt=True, **options)
    whole = tokenizer.apply_chat_template(turns + reply(golden), **options)
    row = PreferenceRow(turns, golden, {"A": golden})
    try:
        (example,), _ = encode([row], tokenizer, chat_template_kwargs=kwargs)
    except BadRowsError as error:
        assert whole[: len(before)] != before or tokenizer.unk_token_id in whole, error
        return
    assert example.prompt.tolist() == before
    ours = [*before, *example.responses[0].tolist()]
    assert ours == whole[: len(ours)]
    assert ours[-1] in tokenizer.convert_tokens_to_ids(list(SPECIAL))


TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "is it so?"},
    {"role": "assistant", "content": THOUGHT + "yes, hello"},
    {"role": "user", "content": "what would you say?"},
]


def tokens(template, turns=TURNS, golden="no", **kwargs):
    """Token ids of the prompt and of golden."""
    tokenizer = make_tokenizer("bytes")
    tokenizer.chat_template = template
    row = PreferenceRow(turns, golden, {"A": "hello"}, file="a.jsonl", row=7)
    (example,), _ = encode([row], tokenizer, chat_template_kwargs=kwargs)
    return example.prompt, example.responses[0]


def texts(template, turns=TURNS, golden="no", **kwargs):
    return [
        make_tokenizer("bytes").decode(ids) for ids in tokens(template, turns, golden, **kwargs)
    ]


@pytest.mark.parametrize("name", [name for name in templates.KNOWN if name != "mistral"])
def test_known_templates_take_a_conversation_with_a_system_turn(name):
    prompt, response = texts(templates.KNOWN[name])
    assert "Be brief." in prompt and "no" in response


def test_thoughts_of_former_replies_go_and_the_empty_block_is_rendered():
    prompt, response = texts(templates.QWEN3)
    assert "hm" not in prompt and "yes, hello" in prompt
    assert response == "<think>\n\n</think>\n\nno<|im_end|>"
    prompt, response = texts(templates.QWEN3, enable_thinking=False)
    assert prompt.endswith("<think>\n\n</think>\n\n") and response == "no<|im_end|>"
    _, response = texts(templates.QWEN3, golden="<think>\nwell\n</think>\n\nno")
    assert response == "<think>\nwell\n</think>\n\nno<|im_end|>"


def test_words_that_switch_the_mode_are_not_missed():
    turns = [{"role": "system", "content": "Be brief. /no_think"}, *TURNS[1:]]
    prompt, response = texts(templates.SMOLLM3, turns)
    assert "Mode: /no_think" in prompt and "Be brief.\n\n<|im_end|>" in prompt
    assert response == "no<|im_end|>"


def test_dates_are_those_of_the_run():
    tokenizer = make_tokenizer("bytes")
    for template, date in ((templates.LLAMA3, "26 Jul 2024"), (templates.SMOLLM3, "26 July 2024")):
        tokenizer.chat_template = template
        loaded = load_template(tokenizer, now=datetime.datetime(2024, 7, 26))
        assert loaded.reads == ("the clock",)
        assert f"Today: {date}\n" in loaded.prompt_text(PreferenceRow(TURNS, "", {}).prompt)


@pytest.mark.parametrize(
    "template, turns, field, said, cure",
    [
        (
            templates.MISTRAL,
            TURNS,
            "golden",
            "different text before a reply",
            "write the system turn's text into the user's first turn",
        ),
        (
            templates.GEMMA,
            TURNS,
            "prompt",
            "System role not supported",
            "write the system turn's text into the user's first turn",
        ),
        (
            templates.STRICT,
            TURNS[1:],
            "prompt",
            "Conversation must begin with a system turn",
            "begin the prompt with a system turn",
        ),
        (
            "{% if messages | length > 2 %}{{ raise_exception('One turn only') }}{% endif %}"
            + templates.QWEN25,
            TURNS[1:],
            "prompt",
            "One turn only",
            "",
        ),
        (
            templates.QWEN25.replace("messages %}", "messages if m.role != 'system' %}"),
            TURNS,
            "prompt",
            "it loses or alters part of the system turn's text",
            "write the system turn's text into the user's first turn",
        ),
        (
            templates.QWEN25.replace("m.content +", "m.content.replace('hello', '') +"),
            TURNS[1:],
            "prompt",
            "it loses or alters part of the text of the assistant's turn",
            "",
        ),
    ],
)
def test_what_a_template_does_not_take_is_refused_with_the_cure(template, turns, field, said, cure):
    with pytest.raises(BadRowsError) as caught:
        tokens(template, turns)
    first = caught.value.problems[0]
    assert (first.file, first.row, first.field) == ("a.jsonl", 7, field)
    assert said in first.found and first.found.endswith(f"; {cure}" if cure else first.found)
    # The cure cures.
    if cure.startswith("write"):
        text = f"{TURNS[0]['content']}\n\n{TURNS[1]['content']}"
        tokens(template, [{"role": "user", "content": text}, *TURNS[2:]])
    elif cure:
        tokens(template, TURNS)


def test_a_template_that_wants_a_system_turn_is_learned_with_one():
    prompt, response = texts(templates.STRICT)
    assert prompt.startswith("<|im_start|>system\nBe brief.") and response == "no<|im_end|>"


@pytest.mark.parametrize("name", ["qwen2.5", "qwen3", "llama3", "gemma3", "smollm3"])
@pytest.mark.parametrize("spelled", range(5))
def test_special_tokens_in_any_turn_stay_text(name, spelled):
    tokenizer, template = make_tokenizer("bytes"), templates.KNOWN[name]
    special = tokenizer.convert_tokens_to_ids(list(SPECIAL))
    found = []
    for text in (f"{' '.join(SPECIAL[1:])} what?", "what?"):
        turns = [dict(turn) for turn in TURNS] + reply("no")
        turns[spelled]["content"] = text
        ids = tokens(template, turns[:-1], turns[-1]["content"])
        marks = [[i for i in part if i in special] for part in ids]
        found.append((marks, [tokenizer.decode(part).replace(text, "TEXT") for part in ids]))
    assert found[0] == found[1]
    assert any("TEXT" in part for part in found[0][1]) and all(found[0][0])


def test_too_long_conversations_lose_their_oldest_exchanges_first():
    tokenizer = make_tokenizer("bytes")
    tokenizer.chat_template = templates.GEMMA3
    turns = [TURNS[0]]
    for number in range(4):
        turns += [{"role": "user", "content": f"{number}: what would you say to this?"}]
        turns += reply(f"{number}: I would say yes")
    turns = turns[:-1]
    row = PreferenceRow(turns, "no", {"A": "yes"})
    lengths = []
    for kept in range(4, 0, -1):
        shorter = PreferenceRow([turns[0], *turns[1 + 2 * (4 - kept) :]], "no", {"A": "yes"})
        (example,), _ = encode([shorter], tokenizer)
        lengths.append(example.length)
        (cut,), report = encode([row], tokenizer, row_length=example.length, on_too_long="truncate")
        assert cut.prompt.tolist() == example.prompt.tolist()
        assert report.truncated == (kept < 4)
        if kept < 4:  # a token less than the longer one needs
            (same,), _ = encode(
                [row], tokenizer, row_length=lengths[-2] - 1, on_too_long="truncate"
            )
            assert same.prompt.tolist() == cut.prompt.tolist()
    (cut,), report = encode([row], tokenizer, row_length=lengths[-1] - 5, on_too_long="truncate")
    text = tokenizer.decode(cut.prompt)
    assert text.startswith("<s><start_of_turn>user\nBe brief.\n\n")  # the system's text stays
    assert text.endswith("to this?<end_of_turn>\n<start_of_turn>model\n")
    assert cut.length == lengths[-1] - 5 and report.truncated == 1
    none, report = encode([row], tokenizer, row_length=12, on_too_long="truncate")
    assert none == [] and report.dropped == 1


def test_thoughts_behind_an_empty_block_are_told():
    with pytest.raises(BadRowsError, match=r"golden: .*; leave thoughts out, or open the block"):
        tokens(templates.QWEN3, golden=THOUGHT + "no", enable_thinking=False)


@pytest.mark.parametrize(
    "name",
    [
        *("cohere2", "gemma3", "gptoss", "lfm2", "llama3", "llama3_1", "llama3_2", "phi3_5"),
        *("qwen2_5", "qwen3", "qwen3_instruct_2507"),
    ],
)
def test_real_templates(name):
    """Those that come with TRL, where it is installed."""
    file = (
        importlib.resources.files(pytest.importorskip("trl")) / "chat_templates" / f"{name}.jinja"
    )
    if not file.is_file():
        pytest.skip(f"this TRL has no template {name}")
    source = file.read_text(encoding="utf-8")
    tokenizer = copy.deepcopy(make_tokenizer("bytes"))
    marks = sorted(set(re.findall(r"<\|[^|>{}']{1,30}\|>|<[a-z]+_of_[a-z]+>", source)))
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.chat_template = source
    options = {"tokenize": True, "return_dict": False}
    thought = THOUGHT if name == "qwen3" else ""
    rows = [
        PreferenceRow(turns, f"{thought}no", {"A": "hello"})
        for turns in (TURNS[1:2], TURNS[:2], TURNS, TURNS[1:], [*TURNS, *reply("so"), TURNS[1]])
    ]
    examples, _ = encode(rows, tokenizer)
    for row, example in zip(rows, examples, strict=True):
        turns = [message._asdict() for message in messages_of(row.prompt)]
        before = tokenizer.apply_chat_template(turns, add_generation_prompt=True, **options)
        whole = tokenizer.apply_chat_template(turns + reply(row.golden), **options)
        ours = [*before, *example.responses[0].tolist()]
        assert example.prompt.tolist() == before and ours == whole[: len(ours)]


def test_thoughts_that_go_are_not_counted_as_lost_characters():
    tokenizer = without_characters(" ".join(sorted(set("".join(CORPUS)))))
    tokenizer.chat_template = templates.QWEN3
    asked = {"role": "user", "content": "hello would you say so? " * 20 + "\u597d"}
    turns = [asked, *reply(THOUGHT + "yes"), TURNS[1]]
    _, report = encode([PreferenceRow(turns, "no", {"A": "hello"})], tokenizer)
    assert report.lossy_indices == (0,)
