"""The command: its lines, going on, both sources, and what it refuses."""

import datetime
import json
import shutil

import pytest

from dignified_jax import generate
from dignified_jax.data.template import load_template
from dignified_jax.embedded import resolve
from dignified_jax.generation import sources
from dignified_jax.generation.settings import Settings
from dignified_jax.generation.system_prompts import STEERING, read_system_prompt
from tests.generation.loopback import serving

pytestmark = pytest.mark.wiring

SPELLED = "How do I learn to <|im_end|> cook?"
RECORDS = [
    {"id": 1, "prompt": "Should I sell my car?"},
    {"id": "b", "prompt": [{"role": "user", "content": "My boss is away."}]},
    {"id": "c", "prompt": SPELLED},
]


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return path


def run(prompts, *flags, model="embedded:tiny-qwen3", out="out.jsonl"):
    files = ["--prompts", str(prompts), "--out", str(prompts.parent / out)]
    return generate.main(["--model", model, *files, *flags])


def lines(prompts, out="out.jsonl"):
    return [json.loads(line) for line in (prompts.parent / out).read_text().splitlines()]


def test_a_local_model(prompts, capsys, tiny_tokenizer):
    """Responses in the order of the prompts; the second command has nothing to do."""
    flags = ("--max_new_tokens", "5", "--temperature", "0.8", "--top_p", "0.9")
    assert run(prompts, *flags) == 0
    found = lines(prompts)
    assert [line["id"] for line in found] == ["1", "b", "c"]
    for line, record in zip(found, RECORDS, strict=True):
        assert line["response"].strip() and line["finish_reason"] == "length"
        assert line["response_tokens"] == 5 and line["settings"]["top_p"] == 0.9
        content = record["prompt"] if isinstance(record["prompt"], str) else "My boss is away."
        if content is not SPELLED:  # transformers would end the turn there
            turns = [{"role": "user", "content": content}]
            ids = tiny_tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
            assert line["prompt_tokens"] == len(ids)
    printed = capsys.readouterr()
    assert "3 of 3 responses, 15 tokens" in printed.err
    assert printed.out.endswith("out.jsonl (3 of 3 prompts have a response)\n")
    whole = (prompts.parent / "out.jsonl").read_bytes()
    assert run(prompts, *flags) == 0 and (prompts.parent / "out.jsonl").read_bytes() == whole
    assert "3 responses are there already" in capsys.readouterr().err
    assert run(prompts, *flags, "--seed", "7") == 1
    assert "seed: 0 there, 7 now" in capsys.readouterr().err


def test_a_response_is_that_of_the_whole_batch_when_others_are_there(prompts):
    flags = ("--max_new_tokens", "5", "--temperature", "0.8", "--top_p", "0.9")
    assert run(prompts, *flags) == 0
    whole = (prompts.parent / "out.jsonl").read_text()
    (prompts.parent / "out.jsonl").write_text(whole[: whole.index("\n") + 9])
    assert run(prompts, *flags) == 0
    assert (prompts.parent / "out.jsonl").read_text() == whole


def test_a_server(prompts, capsys, monkeypatch):
    """One prompt fails and is told; the same command asks for that one alone."""
    monkeypatch.setattr("dignified_jax.generation.endpoint.LONGEST_PAUSE", 0.01)
    failing = [SPELLED]

    def script(handler, text, before):
        system = handler.server.seen[-1][1]["messages"][0]
        assert system == {"role": "system", "content": read_system_prompt("E")}
        handler.reply(400, b"no") if text in failing else handler.answer(f"re: {text}")

    with serving(script) as server:
        flags = ("--endpoint", server.url, "--system", "E")
        assert run(prompts, *flags, model="m") == 1
        printed = capsys.readouterr()
        assert "c: HTTP 400: no" in printed.err and "2 of 3 prompts have a response" in printed.out
        assert [line["id"] for line in lines(prompts)] == ["1", "b"]
        failing.clear()
        assert run(prompts, *flags, model="m") == 0
        assert server.count(SPELLED) == 2 and len(server.seen) == 4
    assert [line["response"] for line in lines(prompts)][2] == f"re: {SPELLED}"
    assert lines(prompts)[0]["settings"]["system"] == read_system_prompt("E")
    assert lines(prompts)[0]["prompt"] == RECORDS[0]["prompt"]  # as it was given


def test_plain_prompts_are_continued(prompts, tiny_tokenizer):
    prompts.write_text('{"id": 1, "prompt": "Sell the car"}\n')
    assert run(prompts, "--plain", "--max_new_tokens", "3", "--stop", "qqq") == 0
    (line,) = lines(prompts)
    assert line["prompt_tokens"] == len(tiny_tokenizer("Sell the car")["input_ids"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "expected at least one line with id and prompt, found none"),
        ("{\n", "prompts.jsonl:1: expected a JSON object, found '{'"),
        ('{"prompt": "x"}\n', "prompts.jsonl:1: id: expected a text or a number, found None"),
        ('{"id": 1}\n', "prompts.jsonl:1: prompt: expected a text or turns, found None"),
        ('{"id": 1, "prompt": []}\n', "prompts.jsonl:1: prompt: expected"),
        (
            '{"id": 1, "prompt": [{"role": "assistant", "content": "x"}]}\n',
            "prompts.jsonl:1: prompt[0]: expected the user's turn",
        ),
        (
            '{"id": 1, "prompt": "x"}\n{"id": "1", "prompt": "y"}\n',
            "prompts.jsonl:2: id '1' stands in line 1 already",
        ),
        (
            '{"id": 1, "prompt": "x", "temperature": 2}\n',
            "temperature: is a setting of all prompts",
        ),
    ],
)
def test_bad_prompts_are_told_by_line(prompts, content, said, capsys):
    prompts.write_text(content)
    assert run(prompts, "--endpoint", "http://localhost:1/v1", model="m") == 1
    assert said in capsys.readouterr().err
    assert not (prompts.parent / "out.jsonl").exists()


def test_too_long_prompts_are_told_by_id_before_any_is_sampled(prompts, capsys):
    long = json.dumps({"id": "long", "prompt": "word " * 5000})
    prompts.write_text(prompts.read_text() + long + "\n")
    assert run(prompts) == 1
    assert "1 of 4 prompts can't be used:\n  long: 5" in capsys.readouterr().err
    assert not (prompts.parent / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--timeout", "3"), "--timeout has no meaning without --endpoint"),
        (("--endpoint", "http://a/v1", "--dtype", "float32"), "--dtype has no meaning with"),
        (("--chat_template", "gone"), "--chat_template: gone not found"),
        (("--plain", "--system", "A"), "--system has no meaning with --plain"),
        (("--top_p", "0.5"), "top_p and top_k have no meaning with temperature=0"),
        (("--system", "nobody"), "expected one of A, T, E, C, plain, combined, a text file, or"),
        (("--system", f"{STEERING}:Z"), "found 'Z'"),
        (("--tensor", "3"), "does not divide the number of devices, 8"),
        (("--max_new_tokens", "0"), "max_new_tokens must be at least 1"),
    ],
)
def test_flags_that_can_not_act_are_refused(prompts, flags, said, capsys):
    assert run(prompts, *flags) == 1
    assert said in capsys.readouterr().err


def test_system_prompts_of_the_users_own(tmp_path):
    text, names = tmp_path / "system.txt", tmp_path / "mine.yaml"
    text.write_text("Be kind.\n")
    names.write_text("short: Be short.\n")
    assert read_system_prompt(str(text)) == "Be kind."
    assert read_system_prompt(f"{names}:short") == "Be short."
    names.write_text("- a list\n")
    with pytest.raises(ValueError, match=r"mine\.yaml: expected lines NAME: text"):
        read_system_prompt(f"{names}:short")


@pytest.mark.parametrize(
    ("eos", "stops"), [("null", ()), ("7", (7,)), ("[7, 8]", (7, 8)), (None, ())]
)
def test_tokens_of_the_generation_config_end_a_response(tmp_path, eos, stops):
    if eos is not None:
        (tmp_path / "generation_config.json").write_text(f'{{"eos_token_id": {eos}}}')
    assert sources.generation_stops(tmp_path) == stops


def test_a_generation_config_that_is_none_is_told(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": "x"}')
    with pytest.raises(ValueError, match="eos_token_id: expected a token id or several, found 'x'"):
        sources.generation_stops(tmp_path)
    assert sources.generation_stops(resolve("embedded:tiny-qwen3")) == (2,)


THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and not quiet %}"
    "<think>{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_template_of_ones_own_with_its_arguments(prompts, capsys):
    template = prompts.parent / "template.jinja"
    template.write_text(THINKING.replace("<think>", "{{ raise_exception('no') }}"))
    flags = ("--chat_template", str(template), "--max_new_tokens", "2")
    assert run(prompts, *flags) == 1
    assert "--chat_template" not in capsys.readouterr().out
    assert run(prompts, *flags, "--chat_template_kwargs", '{"quiet": true}') == 0
    assert lines(prompts)[0]["settings"]["chat_template_kwargs"] == {"quiet": True}


def test_a_template_that_prints_the_date_is_told_that_of_the_first_response(prompts, monkeypatch):
    """A command that goes on another day renders the rest alike, and so do other processes."""
    told = []

    def load(tokenizer, kwargs, *, now):
        told.append(f"{now:%d.%m.%Y}")
        return load_template(tokenizer, kwargs, now=now)

    def respond(self, requests, progress):
        return (sources.Done(each.id, "x", {}) for each in requests)

    monkeypatch.setattr(sources, "load_template", load)
    monkeypatch.setattr(sources.SampledModel, "respond", respond)
    template = prompts.parent / "template.jinja"
    dated = "<|im_start|>system\n{{ strftime_now('%d.%m.%Y') }}<|im_end|>\n"
    template.write_text(dated + THINKING.replace("<think>", ""))
    flags = ("--chat_template", str(template))
    records = prompts.read_text()
    prompts.write_text(records.splitlines()[0] + "\n")
    assert run(prompts, *flags) == 0
    out = prompts.parent / "out.jsonl"
    today = datetime.date.today().isoformat()
    assert lines(prompts)[0]["settings"]["template_date"] == today
    out.write_text(out.read_text().replace(today, "1999-12-31"))
    prompts.write_text(records)
    assert run(prompts, *flags) == 0
    found = lines(prompts)
    assert [line["settings"]["template_date"] for line in found] == ["1999-12-31"] * 3
    assert found[0]["settings"]["stop_tokens"] == [2]
    source = sources.SampledModel("embedded:tiny-qwen3", Settings(), chat_template=str(template))
    for day in ("2001-02-03", None, "2001-02-03"):
        source.tell(day)
    now = f"{datetime.date.fromisoformat(today):%d.%m.%Y}"
    assert told == [now, "31.12.1999", now, "03.02.2001"]
    assert source.identity["template_date"] == "2001-02-03"


def test_another_tokenizer_beside_the_same_weights_is_told(
    prompts, tiny_directory, capsys, monkeypatch
):
    """So is another special token, which a chat template may print."""

    def respond(self, requests, progress):
        return (sources.Done(each.id, "x", {}) for each in requests)

    monkeypatch.setattr(sources.SampledModel, "respond", respond)
    copy = prompts.parent / "model"
    shutil.copytree(tiny_directory, copy)
    prompts.write_text(prompts.read_text().splitlines()[0] + "\n")
    assert run(prompts, "--max_new_tokens", "1", model=str(copy)) == 0
    file = copy / "tokenizer.json"
    whole = file.read_text()
    content = json.loads(whole)
    content["model"]["merges"].pop()
    special = copy / "tokenizer_config.json"
    fields = json.loads(special.read_text())
    for other, fields_of in ((json.dumps(content), fields), (whole, fields | {"bos_token": "x"})):
        file.write_text(other)
        special.write_text(json.dumps(fields_of))
        assert run(prompts, "--max_new_tokens", "1", model=str(copy)) == 1
        assert "id 1 was made with other settings (tokenizer: " in capsys.readouterr().err


def test_a_run_has_its_own_arguments_for_the_template(tmp_path):
    assert sources.run_template_kwargs(tmp_path / "model") == {}
    config = {"data": {"chat_template_kwargs": '{"enable_thinking": false}'}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert sources.run_template_kwargs(tmp_path / "model") == {"enable_thinking": False}
    assert sources.run_template_kwargs(tmp_path) == {}
