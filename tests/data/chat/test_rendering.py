"""Chat templates: rendered as transformers does, at a given time, and never without end."""

import datetime

import pytest

from dignified_jax.data.chat.rendering import Renderer, TemplateFault
from dignified_jax.data.chat.trial import try_out
from dignified_jax.data.template import load_template

TURNS = [{"role": "user", "content": "a 'b' <c>\n"}, {"role": "assistant", "content": "d"}]
NOW = datetime.datetime(2024, 7, 26)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize(
    "source",
    [
        CHATML,
        "{%- for m in messages %}\n  {% if loop.first %}{% continue %}{% endif %}\n{{ m | tojson }}"
        "{%- endfor %}",
        "{% for m in messages %}{% generation %}{{ m.content | trim }}{% endgeneration %}"
        "{% endfor %}",
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}"
        "{{ ns.n }}{{ bos }}{{ dict(a=1) | tojson(indent=2) }}{{ tools is none }}",
        "{{ messages | map(attribute='role') | join(',') }}{{ undefined_name }}",
    ],
)
@pytest.mark.parametrize("generation", [False, True])
def test_same_text_as_transformers(source, generation, tokenizer):
    text = tokenizer.apply_chat_template(
        TURNS, chat_template=source, tokenize=False, add_generation_prompt=generation, bos="B"
    )
    renderer = Renderer(source, {**tokenizer.special_tokens_map, "bos": "B"}, NOW)
    assert renderer.render(TURNS, generation) == text


def test_time_is_the_one_given():
    renderer = Renderer("{{ strftime_now('%d %b %Y') }}", {}, NOW)
    assert renderer.render(TURNS, True) == "26 Jul 2024" and renderer.reads == ("the clock",)
    assert Renderer("{{ [1, 2] | random }}", {}, NOW).reads == ("random numbers",)
    assert Renderer(CHATML, {}, NOW).reads == ()


@pytest.mark.parametrize(
    "source, fault",
    [
        ("{% for m in messages %}{{ m.content }", "line 1: "),
        ("{{ raise_exception('First message must be system') }}", "First message must be system"),
        ("{{ date_today() }}", "'date_today' is undefined"),
        ("{{ 'x' + tools }}", "TypeError: can only concatenate"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ ''.__class__.mro() }}", "unsafe"),
        ("{% set ns = namespace(_x=1) %}", "can't hold '_x'"),
    ],
)
def test_errors_of_a_template_are_a_line_that_names_it(source, fault, tokenizer):
    tokenizer.chat_template = source + CHATML
    with pytest.raises(ValueError, match=r"^chat template of models/mine: ") as caught:
        load_template(tokenizer, name="models/mine")
    assert fault in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source, fault",
    [
        ("{{ 'a' * 10**10 }}", "1024 MiB of memory"),
        ("{{ 'a'.ljust(10**12) }}", "1024 MiB of memory"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}abc{% endfor %}{% endfor %}",
            "",
        ),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "1 CPU"),
    ],
)
def test_templates_without_end_are_stopped(source, fault, monkeypatch):
    from dignified_jax.data.chat import trial

    monkeypatch.setattr(trial, "CPU_SECONDS", 1)
    with pytest.raises(TemplateFault, match=r"takes more than|prints more than") as caught:
        try_out(source, {}, [TURNS[:1]])
    assert fault in str(caught.value)


def test_a_row_can_not_print_without_end(monkeypatch):
    from dignified_jax.data.chat import rendering

    monkeypatch.setattr(rendering, "MOST_CHARACTERS", 1000)
    renderer = Renderer("{% for i in range(5000) %}{{ messages[0].content }}{% endfor %}", {}, NOW)
    with pytest.raises(TemplateFault, match="prints more than 1000 characters"):
        renderer.render(TURNS, True)


def test_advice_is_an_argument_that_helps_or_none(tokenizer):
    opens = CHATML.replace("assistant\n{%", "assistant\n{% if WHEN %}<think>\n{% endif %}{%")
    tokenizer.chat_template = opens.replace("WHEN", "enable_thinking is not false")
    with pytest.raises(ValueError, match=r'chat_template_kwargs to {"enable_thinking": false}$'):
        load_template(tokenizer)
    tokenizer.chat_template = opens.replace("WHEN", "true")
    with pytest.raises(ValueError, match=r"no argument changes that: set data\.chat_template"):
        load_template(tokenizer)


def test_arguments_that_render_unlike_have_unlike_identities():
    """The text "False" is true in Jinja: token ids made with it are not those made with false."""
    source = "{{ 'quiet' if not thinking else 'thinks' }}"
    found = [Renderer(source, {"thinking": value}, NOW) for value in (False, "False", None, "None")]
    assert [each.render([], False) for each in found] == ["quiet", "thinks", "quiet", "thinks"]
    assert len({str(each.identity()) for each in found}) == 4
