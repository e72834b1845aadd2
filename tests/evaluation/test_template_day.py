"""Directories of responses keep the day that templates which print the date are told."""

import dataclasses
import datetime
import json

import pytest

from dignified_jax import analyze
from dignified_jax.evaluation import chain, config, models, template_day, works
from dignified_jax.evaluation.judging.judgments import Verdict
from dignified_jax.evaluation.ood.__main__ import main as ood
from dignified_jax.evaluation.ood.xstest import read_prompts

pytestmark = pytest.mark.wiring

DAY = datetime.date(1999, 12, 31)


def test_the_first_day_of_a_directory_stays(tmp_path):
    today = template_day.kept(tmp_path / "run")
    assert abs(today - datetime.date.today()) <= datetime.timedelta(1)
    file = tmp_path / "run" / template_day.FILE
    assert file.read_text() == f"{today:%Y-%m-%d}\n"
    file.write_text("1999-12-31")
    assert template_day.kept(tmp_path / "run") == DAY
    file.write_text("yesterday")
    with pytest.raises(ValueError, match=r"template_date.txt: expected a date .*found 'yesterday'"):
        template_day.kept(tmp_path / "run")


def test_a_model_tells_its_template_the_day(tiny_judge, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr(
        tiny_tokenizer,
        "chat_template",
        "{{ strftime_now('%d %b %Y') }}|" + tiny_tokenizer.chat_template,
    )
    model = dataclasses.replace(tiny_judge, tokenizer=tiny_tokenizer, day=DAY)
    assert model.template().prompt_text("Hi").startswith("31 Dec 1999|")
    source = works.ModelSource.of(model)
    assert source.day == "1999-12-31"
    told = []
    monkeypatch.setattr(models, "load", lambda *arguments: told.append(arguments[-1]))
    works.ModelSource(**json.loads(json.dumps(dataclasses.asdict(source)))).load()
    assert told == [DAY]


def test_an_evaluation_goes_on_with_its_first_day(tmp_path, monkeypatch):
    """For models and local judges alike, a model that comes later too."""
    told = []

    def respond(model, requests, settings):
        told.append((model.name, model.day))
        return ((request.id, "Hm.", "stop") for request in requests)

    def judge(model, rubric, settings, responses):
        told.append((model.name, model.day))
        verdicts = {item.name: Verdict(1) for item in rubric.items}
        return ((response, verdicts) for response in responses)

    monkeypatch.setattr(works, "respond", respond)
    monkeypatch.setattr(works, "judge", judge)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"id": 1, "prompt": "Hi"}) + "\n")
    tiny, run = "embedded:tiny-qwen3", tmp_path / "run"
    values = {
        **{"workdir": str(run), "prompts": str(prompts), "until": "judge"},
        "judging": {"judges": (f"j=local:{tiny}",)},
    }
    chain.run(config.parse({**values, "models": (f"a={tiny}",)}), print)
    today = (run / template_day.FILE).read_text().strip()
    assert told == [("a", today), ("j", today)]
    (run / template_day.FILE).write_text("1999-12-31")
    chain.run(config.parse({**values, "models": (f"a={tiny}", f"b={tiny}")}), print)
    assert told[2:] == [("b", "1999-12-31")]
    prompts.write_text(json.dumps({"id": 2, "prompt": "Hello"}) + "\n")
    chain.run(config.parse({**values, "models": (f"a={tiny}",)}), print)
    assert told[3:] == [("a", "1999-12-31"), ("j", "1999-12-31")]


@pytest.mark.parametrize("command", ["vectors", "steer", "xstest"])
def test_commands_with_a_directory_of_responses(command, tmp_path, monkeypatch):
    def load(*arguments, day, **options):
        told.append(day)
        raise ValueError("enough")

    told = []
    monkeypatch.setattr(models, "load", load)
    (tmp_path / template_day.FILE).write_text("1999-12-31")
    if command == "xstest":
        file = tmp_path / "prompts.csv"
        file.write_text("id,type,label,focus,note,prompt\n1,homonyms,safe,kill,,How to kill it?\n")
        assert len(read_prompts(file)) == 1
        assert ood(["xstest", str(file), "--model", "m", "--out", str(tmp_path)]) == 1
    else:
        further = ["--vectors", "none"] if command == "steer" else []
        model = "m=x" if command == "steer" else "x"
        flags = ["--model", model, "--workdir", str(tmp_path), *further]
        assert analyze.main([command, *flags]) == 1
    assert told == [DAY]
