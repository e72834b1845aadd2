"""Prompt and reply have the ids of the whole conversation, for many templates and tokenizers."""

import functools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from dignified_jax.data import BadRowsError, PreferenceRow, encode

SPECIAL = (
    *("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "[INST]", "[/INST]"),
)
CORPUS = (
    "user assistant model system hello world what would you say to this? I would say yes, no\n",
    "<|user|>\nwhat is it?</s>\n<|assistant|>\n[INST] hello [/INST] I said so. USER: ASSISTANT: ",
    "<think>\n\n</think>\n\nWell: 12 + 3 = 15, is it not?\n\n  - one\n  - two\n",
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HYBRID_REPLY = (
    "{%- set c = m.content -%}{%- set r = '' -%}{%- if '</think>' in c -%}"
    "{%- set r = c.split('</think>')[0].split('<think>')[-1].strip('\n') -%}"
    "{%- set c = c.split('</think>')[-1].lstrip('\n') -%}{%- endif -%}"
    "{{ '<|im_start|>assistant\n<think>\n' + r + '\n</think>\n\n' + c.lstrip('\n') }}"
)
HYBRID = (
    "{%- for m in messages -%}{%- if m.role == 'assistant' -%}" + HYBRID_REPLY + "{%- else -%}"
    "{{ '<|im_start|>user\n' + m.content }}{%- endif -%}{{ '<|im_end|>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}OPENS{%- endif -%}"
)
TEMPLATES = {
    "chatml": CHATML,
    "llama2": (
        "{% for m in messages %}{% if m.role == 'user' %}"
        "{{ bos_token + '[INST] ' + m.content.strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "zephyr": (
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    ),
    "llama3": (
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
        "{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
    ),
    "gemma": (
        "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == "
        "'assistant' else m.role) + '\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
        "{{ '[INST] ' + m.content + '[/INST]' }}{% else %}{{ ' ' + m.content + eos_token }}"
        "{% endif %}{% endfor %}"
    ),
    "vicuna": (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
        "{{ 'USER: ' + m.content + ' ' }}{% else %}{{ 'ASSISTANT: ' + m.content + eos_token }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    ),
    "hybrid": HYBRID.replace("OPENS", ""),
    "thinking": HYBRID.replace("OPENS", "{{ '<think>\n' }}"),
}


def byte_level(backend):
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return pre_tokenizers.ByteLevel.alphabet()


def metaspace(scheme):
    def prepare(backend):
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
        return []

    return prepare


def prepended(backend):
    """Like the tokenizer.json of Llama 2: spaces are marked by a normalizer."""
    steps = [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    backend.normalizer = normalizers.Sequence(steps)
    backend.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return []


KINDS = {
    "bytes": ("bpe", byte_level),
    "first": ("bpe", metaspace("first")),
    "always": ("bpe", metaspace("always")),
    "prepended": ("bpe", prepended),
    "unigram": ("unigram", metaspace("first")),
}


@functools.cache
def make_tokenizer(kind, corpus=CORPUS):
    model, prepare = KINDS[kind]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    backend = Tokenizer(
        models.BPE(unk_token="<unk>", byte_fallback=kind != "bytes", fuse_unk=True)
        if model == "bpe"
        else models.Unigram()
    )
    alphabet = list(prepare(backend))
    if model == "bpe":
        trainer = trainers.BpeTrainer(
            vocab_size=700,
            special_tokens=[*SPECIAL, *([] if kind == "bytes" else bytes_)],
            initial_alphabet=alphabet,
            show_progress=False,
        )
    else:
        trainer = trainers.UnigramTrainer(
            vocab_size=120, special_tokens=list(SPECIAL), unk_token="<unk>", show_progress=False
        )
    backend.train_from_iterator(list(corpus) * 20, trainer)
    if kind != "bytes" and model == "bpe":
        backend = _without_special(backend, bytes_)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def _without_special(backend, names):
    """The byte tokens stay in the vocabulary, but are not parsed in texts."""
    import json

    fields = json.loads(backend.to_str())
    fields["added_tokens"] = [a for a in fields["added_tokens"] if a["content"] not in names]
    return Tokenizer.from_str(json.dumps(fields))


TEXT = st.text(alphabet="aesw? I.\n\t-'<>|#\u00e9\u597d\U0001f642", min_size=1, max_size=12)
VISIBLE = TEXT.map(lambda text: text + "x")
REPLY = st.one_of(VISIBLE, VISIBLE.map(lambda text: f"<think>\nhm\n</think>\n\n{text}"))


def turns(prompt, reply=None):
    given = [{"role": "user", "content": prompt}]
    return given + ([] if reply is None else [{"role": "assistant", "content": reply}])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(name=st.sampled_from(sorted(TEMPLATES)), prompt=VISIBLE, reply=REPLY)
def test_ids_are_those_of_the_whole_conversation(kind, name, prompt, reply):
    # A text that spells a special token stays text here, and becomes the token there.
    assume(not any(special in prompt + "\n" + reply for special in SPECIAL))
    tokenizer = make_tokenizer(kind)
    tokenizer.chat_template = TEMPLATES[name]
    options = {"tokenize": True, "return_dict": False}
    whole = tokenizer.apply_chat_template(turns(prompt, reply), **options)
    before = tokenizer.apply_chat_template(turns(prompt), add_generation_prompt=True, **options)
    row = PreferenceRow(prompt, reply, {"A": reply})
    try:
        (example,), _ = encode([row], tokenizer)
    except BadRowsError as error:
        shared = whole[: len(before)] == before
        lost = tokenizer.unk_token_id in whole
        assert not shared or lost, error
        return
    assert example.prompt.tolist() == before
    ours = [*before, *example.responses[0].tolist()]
    assert ours == whole[: len(ours)]
    assert ours[-1] in (tokenizer.convert_tokens_to_ids(list(SPECIAL)))
    assert example.responses[0].tolist() == example.responses[1].tolist()


@pytest.mark.parametrize("kind", ["first", "always", "prepended"])
def test_line_break_after_the_generation_prompt(kind):
    """Zephyr's reply begins with one; tokenised apart it gained a space that is nowhere else."""
    tokenizer = make_tokenizer(kind, (CORPUS[0].strip(), "<|user|> <|assistant|>"))
    tokenizer.chat_template = TEMPLATES["zephyr"]
    (example,), _ = encode([PreferenceRow("hello", "yes", {"A": "no"})], tokenizer)
    tokens = tokenizer.convert_ids_to_tokens(example.responses[0].tolist())
    assert "\u2581" not in tokens[0] and tokens[-1] == "</s>"


def test_reply_whose_beginning_merges_with_the_prompts_end():
    tokenizer = make_tokenizer("bytes", ("hello\n\n", "yes\n\n"))
    tokenizer.chat_template = CHATML
    good = PreferenceRow("hello", "yes", {"A": "no"}, file="a.jsonl", row=1)
    bad = PreferenceRow("hello", "\n\nyes", {"A": "no"}, file="a.jsonl", row=2)
    with pytest.raises(BadRowsError, match=r"a\.jsonl:2: golden: .* '\\n\\n', one token for"):
        encode([good, bad], tokenizer)
    examples, report = encode([bad, good], tokenizer, on_bad_row="skip")
    assert [e.index for e in examples] == [1]
    assert [(p.file, p.row, p.field) for p in report.rejected[0]] == [("a.jsonl", 2, "golden")]
    with pytest.raises(ValueError, match=r"on_bad_row: expected 'error' or 'skip'"):
        encode([good], tokenizer, on_bad_row="drop")


def test_reply_that_opens_the_block_which_the_prompt_opened():
    tokenizer = make_tokenizer("bytes")
    tokenizer.chat_template = TEMPLATES["thinking"]
    row = PreferenceRow(
        "hello", "<think>\nhm\n</think>\n\nyes", {"A": "<think>\nso\n</think>\n\nno"}
    )
    (example,), _ = encode([row], tokenizer)
    assert tokenizer.decode(example.prompt).endswith("<think>\n")
    assert tokenizer.decode(example.responses[0]).startswith("hm\n</think>\n\nyes")


def test_all_bad_texts_are_told_by_file_row_and_column():
    tokenizer = make_tokenizer("bytes")
    refuses = "{% if 'dog' in messages[-1].content %}{{ raise_exception('no dogs') }}{% endif %}"
    tokenizer.chat_template = refuses + CHATML
    rows = [
        PreferenceRow("hello", "a dog", {"T": "no"}, file="a.jsonl", row=3),
        PreferenceRow("a dog", "yes", {"T": "no"}, file="a.jsonl", row=5),
        PreferenceRow("hello", "yes", {"T": "dog"}, file="b.jsonl", row=1),
    ]
    with pytest.raises(BadRowsError) as caught:
        encode(rows, tokenizer)
    lines = str(caught.value).splitlines()
    assert [line.split(": expected")[0] for line in lines[1:]] == [
        *("a.jsonl:3: golden", "a.jsonl:5: prompt", "b.jsonl:1: reject_T"),
    ]
    assert all(line.endswith("found no dogs") for line in lines[1:])


def without_characters(letters):
    """A BPE tokenizer without byte fallback or unknown token, which drops what it doesn't know."""
    backend = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=list(SPECIAL), show_progress=False)
    backend.train_from_iterator([letters] * 5, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", bos_token="<s>", chat_template=CHATML
    )


def test_text_that_the_tokenizer_can_not_write():
    tokenizer = without_characters("".join(CORPUS))
    row = PreferenceRow("\u4f60\u597d how is it", "\u597d\u7684", {"A": "no \U0001f642"})
    with pytest.raises(BadRowsError) as caught:
        encode([row], tokenizer)
    found = {problem.field: problem.found for problem in caught.value.problems}
    assert found["prompt"].startswith("22% of the visible characters lost of")
    assert found["golden"] == "none for '\u597d\u7684'"
    assert found["reject_A"].startswith("33% of")


def test_text_of_unknown_words():
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "hello": 2, "yes": 3}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", eos_token="</s>", pad_token="</s>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content + ' ' + eos_token + ' ' }}{% endfor %}"
    )
    assert len(encode([PreferenceRow("hello", "yes yes", {"A": "yes"})], tokenizer)[0]) == 1
    with pytest.raises(BadRowsError, match=r"golden: .* 67% of the visible characters lost"):
        encode([PreferenceRow("hello", "yes hello?", {"A": "yes"})], tokenizer)


def test_few_lost_characters_are_reported():
    tokenizer = without_characters("".join(CORPUS))
    long = "hello would you say so? " * 10
    rows = [PreferenceRow(long + end, long, {"A": "no"}) for end in ("", "\u597d")]
    examples, report = encode(rows, tokenizer)
    assert len(examples) == 2 and report.lossy_indices == (1,)


def test_progress_is_called_to_the_end(monkeypatch):
    from dignified_jax.data import tokenize

    monkeypatch.setattr(tokenize, "ROWS_A_CALL", 4)
    tokenizer, called = make_tokenizer("bytes"), []
    tokenizer.chat_template = CHATML
    rows = [PreferenceRow(f"{n}?", "yes", {"A": "no"}) for n in range(10)]
    examples, _ = encode(rows, tokenizer, progress=lambda *done: called.append(done))
    assert called == [(4, 10), (8, 10), (10, 10)] and len(examples) == 10
