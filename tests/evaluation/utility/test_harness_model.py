"""Our model under lm-evaluation-harness against its own Hugging Face backend."""

import dataclasses

import pytest

pytest.importorskip("lm_eval", reason="lm-evaluation-harness (extra `eval`) is not installed")

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from dignified_jax.evaluation.utility import benchmarks
from dignified_jax.evaluation.utility.harness_model import DecoderLM, read_options

TOLERANCE = 1e-4
LONGEST = 48  # tokens, so that contexts are cut and texts need several windows
TEXT = "My landlord kept my deposit. Should I write to the council, or wait and see what he says? "


@pytest.fixture(scope="module")
def both(tiny_judge, tiny_directory):
    ours = DecoderLM(
        tiny_judge.module,
        tiny_judge.params,
        tiny_judge.tokenizer,
        batch_size=4,
        max_length=LONGEST,
    )
    theirs = HFLM(
        pretrained=str(tiny_directory),
        device="cpu",
        dtype="float32",
        batch_size=2,
        max_length=LONGEST,
    )
    return ours, theirs


def instances(kind, arguments):
    return [Instance(kind, {}, args, number) for number, args in enumerate(arguments)]


def test_log_likelihoods(both):
    given = instances(
        "loglikelihood",
        [
            *(("The sky is", choice) for choice in (" blue", " green", " a kind of purple")),
            ("The sky is ", "blue"),  # a space that moves to the continuation
            ("", "The sky is blue"),
            (TEXT * 6, " yes"),
            (TEXT * 6, " no, wait"),
            ("<|im_start|>user\nHi<|im_end|>\n", "Hello"),
        ],
    )
    ours, theirs = (model.loglikelihood(given, disable_tqdm=True) for model in both)
    for one, other in zip(ours, theirs, strict=True):
        assert one[0] == pytest.approx(other[0], abs=TOLERANCE)
        assert one[1] == other[1]


def test_rolling_log_likelihoods(both):
    given = instances("loglikelihood_rolling", [("Hello.",), (TEXT * 5,), ("",)])
    ours, theirs = (model.loglikelihood_rolling(given, disable_tqdm=True) for model in both)
    assert ours == pytest.approx(theirs, abs=TOLERANCE * 10, rel=1e-6)


def test_greedy_texts(both):
    """Stops at texts, at a special token, at the most tokens; a context that is cut."""
    kwargs = [
        {"until": ["."], "max_gen_toks": 12},
        {"until": ["\n\n", "<|im_end|>"], "max_gen_toks": 12, "do_sample": False},
        {"until": ["e"], "max_gen_toks": 20, "temperature": 0.0},
    ]
    contexts = ["The sky is", TEXT * 6, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"]
    pairs = [(context, options) for options in kwargs for context in contexts]
    given = instances("generate_until", pairs)
    ours, theirs = (model.generate_until(given, disable_tqdm=True) for model in both)
    assert ours == theirs
    assert any(ours)


def test_chat_templates(both):
    turns = [{"role": "user", "content": "Hi"}]
    ours, theirs = both
    assert ours.apply_chat_template(turns) == theirs.apply_chat_template(turns)
    assert ours.chat_template(True) == theirs.chat_template(True)
    said = [*turns, {"role": "assistant", "content": "The answer is"}]
    assert ours.apply_chat_template(said, False) == theirs.apply_chat_template(said, False)


def test_a_chat_template_has_its_arguments(tiny_judge, tiny_tokenizer, monkeypatch):
    own = "{% if not thinks|default(true) %}<quiet>{% endif %}" + tiny_tokenizer.chat_template
    monkeypatch.setattr(tiny_tokenizer, "chat_template", own)
    model = dataclasses.replace(
        tiny_judge, tokenizer=tiny_tokenizer, template_kwargs={"thinks": False}
    )
    seen = []

    def evaluate(model, **options):
        seen.append(model.apply_chat_template([{"role": "user", "content": "Hi"}]))
        return {"config": {}}

    monkeypatch.setattr(lm_eval, "simple_evaluate", evaluate)
    monkeypatch.setattr(benchmarks, "check", lambda *arguments: None)
    benchmarks.run(model, ["a"], chat_template=True)
    benchmarks.run(dataclasses.replace(model, template_kwargs={}), ["a"], chat_template=True)
    assert [text.startswith("<quiet>") for text in seen] == [True, False]


def test_sampling_options(tiny_tokenizer):
    options = read_options(
        {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "until": "x", "max_gen_toks": 5},
        256,
        tiny_tokenizer,
    ).settings
    assert (options.temperature, options.top_p, options.stop) == (0.7, 0.9, ("x",))
    assert options.max_new_tokens == 5
    assert read_options({"top_p": 0.5}, 256, tiny_tokenizer).settings.temperature == 0
    with pytest.raises(ValueError, match="num_beams"):
        read_options({"num_beams": 4}, 256, tiny_tokenizer)


def test_contexts_without_room_are_refused(both):
    given = instances("generate_until", [("Hi", {"until": ["."], "max_gen_toks": LONGEST})])
    with pytest.raises(ValueError, match="max_gen_toks"):
        both[0].generate_until(given, disable_tqdm=True)
