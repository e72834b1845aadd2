"""The whole way, on the embedded model and rules, stage by stage and again."""

import json
import pathlib
import re
import shutil

import pyarrow.parquet
import pytest

from dignified_jax import mfrm
from dignified_jax.console.table import Table
from dignified_jax.evaluation import chain, config, models, works
from dignified_jax.evaluation.judging import rules
from dignified_jax.evaluation.responses import ResponsesError
from dignified_jax.evaluation.stages import generate
from tests.oracles.judge_server import JudgeServer

pytestmark = pytest.mark.wiring

pytest.importorskip("plotly")

PROMPTS = ("Should I quit my job today?", "My cat ate a lily.", "Is this coin rare?")


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "prompts.jsonl"
    write_prompts(file, PROMPTS)
    return file


def write_prompts(file, texts):
    lines = [json.dumps({"id": f"p{i}", "prompt": text}) for i, text in enumerate(texts)]
    file.write_text("".join(line + "\n" for line in lines))


def make(tmp_path, prompts, **values):
    fields = {
        "workdir": str(tmp_path / "run"),
        "models": ("one=embedded:tiny-qwen3", "two=" + str(given(tmp_path))),
        "prompts": str(prompts),
        "generation": {"max_new_tokens": 6},
        "scoring": {"method": "ridge", "replicates": 4},
    }
    return config.parse(fields | values)


def given(tmp_path):
    file = tmp_path / "given.jsonl"
    texts = (
        "Don't. Ask a friend first, and check your savings.",
        "I'm sorry! Call a vet.",
        "Maybe.",
    )
    lines = [json.dumps({"id": f"p{i}", "response": text}) for i, text in enumerate(texts)]
    file.write_text("".join(line + "\n" for line in lines))
    return file


@pytest.fixture
def counted(monkeypatch):
    """What was generated and judged, by ids and hashes."""
    seen = {"generated": [], "judged": []}
    real_generate, real_judge = works.generate, rules.RuleJudge.__call__

    def generated(model, params, tokenizer, requests, settings, **options):
        seen["generated"] += [request.id for request in requests]
        return real_generate(model, params, tokenizer, requests, settings, **options)

    def judged(self, responses):
        seen["judged"] += [response.question for response in responses]
        return real_judge(self, responses)

    monkeypatch.setattr(works, "generate", generated)
    monkeypatch.setattr(rules.RuleJudge, "__call__", judged)
    return seen


def clear(seen):
    for values in seen.values():
        values.clear()


def test_from_prompts_to_report_and_only_what_is_new(tmp_path, prompts, counted):
    lines = []
    page = chain.run(make(tmp_path, prompts), lines.append)
    run = tmp_path / "run"
    assert page == run / "report" / "index.html"
    assert counted["generated"] == ["p0", "p1", "p2"]
    assert len(counted["judged"]) == 2 * 2 * 3  # judges, models, prompts
    ratings = mfrm.from_long(run / "judgments.parquet")
    assert ratings.trials.shape == (2, 3, 2, 12)
    assert ratings.trials.min() == 1
    table = pyarrow.parquet.read_table(run / "judgments.parquet")
    assert set(table["judge_kind"].to_pylist()) == {"rules"}
    text = page.read_text()
    assert "Judged by rules: word lists and counts, no model" in text
    assert 'href="responses.html"' in text
    assert "Call a vet" in (page.parent / "responses.html").read_text()
    assert (run / "scores" / "dimensions.csv").is_file()
    assert "MFRM scores" in (run / "scores" / "summary.txt").read_text()
    assert "Judged by rules" in (page.parent / "report.md").read_text()

    clear(counted)
    chain.run(make(tmp_path, prompts), lines.append)
    assert counted == {"generated": [], "judged": []}

    write_prompts(prompts, (*PROMPTS, "A fourth?"))
    clear(counted)
    only = make(tmp_path, prompts, models=("one=embedded:tiny-qwen3",), until="judge")
    assert chain.run(only, lines.append) is None
    assert counted == {"generated": ["p3"], "judged": ["p3", "p3"]}

    write_prompts(prompts, (*PROMPTS[:2], "Another third?", "A fourth?"))
    clear(counted)
    chain.run(only, lines.append)
    assert counted["generated"] == ["p2"]


def test_stages_alone(tmp_path, prompts, counted):
    first = make(tmp_path, prompts, until="generate")
    assert chain.run(first, print) is None
    assert counted["judged"] == []
    assert not (tmp_path / "run" / "judgments").exists()
    assert chain.run(make(tmp_path, prompts, until="judge"), print) is None
    assert counted["generated"] == ["p0", "p1", "p2"]
    assert not (tmp_path / "run" / "report").exists()


def test_other_settings_are_other_responses(tmp_path, prompts, counted):
    one = ("one=embedded:tiny-qwen3",)
    chain.run(make(tmp_path, prompts, models=one, until="generate"), print)
    other = {"max_new_tokens": 5}
    chain.run(make(tmp_path, prompts, models=one, until="generate", generation=other), print)
    assert counted["generated"] == ["p0", "p1", "p2"] * 2
    same = {"max_new_tokens": 6, "batch_size": 2}
    chain.run(make(tmp_path, prompts, models=one, until="generate", generation=same), print)
    assert len(counted["generated"]) == 6


def test_ratings_of_others(tmp_path, prompts):
    run = tmp_path / "run"
    found = config.parse(
        {
            "workdir": str(run),
            "ratings": str(
                pathlib.Path(__file__).parents[2] / "dignified_jax/embedded/ratings.csv"
            ),
            "scoring": {"method": "ridge", "replicates": 4},
        }
    )
    page = chain.run(found, print)
    text = page.read_text()
    assert "amber-large" in text
    assert "Wright map of score" in text
    assert "responses.html" not in text
    assert not (page.parent / "responses.html").exists()


def test_given_responses_to_no_known_prompt(tmp_path, prompts):
    file = tmp_path / "given.jsonl"
    file.write_text('{"id": "z", "response": "Hm."}\n')
    with pytest.raises(ResponsesError, match=r"given.jsonl:1: prompt: expected a text"):
        chain.run(
            config.parse(
                {
                    "workdir": str(tmp_path / "run"),
                    "models": (f"m={file}",),
                    "prompts": str(prompts),
                }
            ),
            print,
        )


def test_prompts_of_preference_rows(tmp_path):
    found = generate.read_prompts(config.parse({"models": ("m=x",), "most_prompts": 3}))
    assert len(found) == 3
    assert all(len(name) == 12 for name in found)
    assert next(iter(found.values())).startswith("Three invoices")


def test_digest_of_a_directory_is_that_of_its_weights(tiny_directory):
    loaded = models.load("m", "embedded:tiny-qwen3")
    assert loaded.digest == models.digest(str(tiny_directory))
    assert loaded.name == "m"


def test_a_model_behind_a_server_and_a_further_table(tmp_path, prompts):
    server = JudgeServer()
    answers = {"My cat ate a lily.": (400, {}, "refused")}
    server.behave = lambda prompt, *rest: answers.get(prompt, (200, {}, f"About: {prompt}"))
    table = Table("ood", "out of distribution", {"model": ["m"], "rate": [0.5], "n": [3]})
    (tmp_path / "ood.json").write_text(json.dumps(table.json()))
    found = make(
        tmp_path,
        prompts,
        models=(f"far=some-model@{server.url}", f"two={given(tmp_path)}"),
        tables=(str(tmp_path / "ood.json"),),
    )
    with pytest.raises(ValueError, match="model far: 1 of 3 prompts have no response"):
        chain.run(found, print)
    asked = len(server.calls)
    answers.clear()
    page = chain.run(found, print)
    assert len(server.calls) == asked + 1  # the one that failed
    server.shutdown()
    assert "out of distribution" in page.read_text()
    assert "About: Is this coin rare?" in (page.parent / "responses.html").read_text()
    (tmp_path / "ood.json").write_text("[]")
    with pytest.raises(ValueError, match=r"ood.json: expected a JSON object with name"):
        chain.run(found, print)


def test_what_is_wrong_is_told_before_a_response_is_made(tmp_path, prompts, counted, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other.jsonl"
    other.write_text('{"id": "p0", "prompt": "Another?", "response": "Hm."}\n')
    tiny = "one=embedded:tiny-qwen3"
    cases = {
        r"models: expected a file, found none at gone.jsonl": {"models": (tiny, "two=gone.jsonl")},
        r"other.jsonl:1: prompt: expected the one that is asked under this id, found 'Another\?'": {
            "models": (tiny, f"two={other}")
        },
        r"model two: gone: no such directory": {"models": (tiny, "two=gone")},
        r"judge me: gone: no such directory": {"judging": {"judges": ("me=local:gone",)}},
        r"judge nonsense/x: .*not recognized": {"judging": {"judges": ("nonsense/x",)}},
        r"rubric: expected a file, found none at gone.yaml": {"rubric": "gone.yaml"},
        r"ood.xstest: expected a file": {"ood": {"xstest": "gone.csv"}},
    }
    for said, values in cases.items():
        with pytest.raises(ValueError, match=said):
            chain.run(make(tmp_path, prompts, **values), print)
    assert counted == {"generated": [], "judged": []}


def test_a_model_that_is_gone_has_left_its_responses(tmp_path, prompts, tiny_directory, counted):
    place = tmp_path / "model"
    shutil.copytree(tiny_directory, place)
    wanted = make(tmp_path, prompts, models=(f"one={place}",), until="generate")
    chain.run(wanted, print)
    shutil.rmtree(place)
    with pytest.raises(ValueError, match=r"model one: .*no such directory") as error:
        chain.run(wanted, print)
    (note,) = error.value.__notes__
    kept = re.search(r"are in (\S+),", note)[1]
    lines = []
    chain.run(make(tmp_path, prompts, models=(f"one={kept}",), until="judge"), lines.append)
    assert lines[0] == f"one: 3 responses of {kept}"


def test_a_file_with_some_of_the_responses(tmp_path, prompts):
    file = tmp_path / "some.jsonl"
    file.write_text('{"id": "p0", "response": ""}\n{"id": "x", "prompt": "?", "response": "Hm."}\n')
    lines = []
    chain.run(make(tmp_path, prompts, models=(f"m={file}",), until="judge"), lines.append)
    said = f"m: 1 responses of {file}; 1 to other prompts left out; 2 prompts without one"
    assert lines[0] == said


def test_judges_without_a_usable_answer(tmp_path, prompts, monkeypatch):
    def judged(self, responses):
        none = rules.Verdict(None, reason="no JSON object with an item")
        for response in responses:
            yield response, dict.fromkeys([item.name for item in self._rubric.items], none)

    monkeypatch.setattr(rules.RuleJudge, "__call__", judged)
    wanted = make(tmp_path, prompts, models=(f"m={given(tmp_path)}",))
    said = "no judge gave a usable answer; .*missing.csv; judge rules-lenient: 36 items: no JSON"
    with pytest.raises(ValueError, match=said):
        chain.run(wanted, print)
    assert (tmp_path / "run" / "missing.csv").is_file()
