"""Tasks in local files, run through lm-evaluation-harness on our model and on its HF backend."""

import json

import pytest

pytest.importorskip("lm_eval", reason="lm-evaluation-harness (extra `eval`) is not installed")

import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from dignified_jax.evaluation.models import LoadedModel
from dignified_jax.evaluation.utility import __main__ as command
from dignified_jax.evaluation.utility import benchmarks

pytestmark = pytest.mark.wiring

CHOICES = """
task: colors
dataset_path: json
dataset_kwargs: {data_files: {test: DIRECTORY/colors.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Q: {{q}}\\nA:"
doc_to_choice: "{{choices}}"
doc_to_target: label
metric_list: [{metric: acc}, {metric: acc_norm}]
metadata: {version: 1}
"""
BBH = """
task: bbh_letters
dataset_path: json
dataset_kwargs: {data_files: {test: DIRECTORY/letters.json}, field: examples}
test_split: test
fewshot_split: test
num_fewshot: 1
output_type: generate_until
doc_to_text: "Q: {{input}}\\nA:"
doc_to_target: " {{target}}"
generation_kwargs: {until: ["\\n", "Q:"], max_gen_toks: 8, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
metadata: {version: 1}
"""


@pytest.fixture(scope="module")
def task_directory(tmp_path_factory):
    """A multiple-choice task, and one in the format in which BBH is published."""
    directory = tmp_path_factory.mktemp("tasks")
    rows = [
        {"q": f"What is the color of {thing}?", "choices": ["blue", "green", "as red as can be"]}
        | {"label": number % 3}
        for number, thing in enumerate(("snow", "the sky", "grass", "a rose", "the sea"))
    ]
    (directory / "colors.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    examples = [{"input": f"letter {n}", "target": letter} for n, letter in enumerate("abcd")]
    (directory / "letters.json").write_text(json.dumps({"canary": "c", "examples": examples}))
    for name, text in (("colors", CHOICES), ("letters", BBH)):
        text = text.replace("DIRECTORY", str(directory))
        (directory / f"{name}.yaml").write_text(text)
    return directory


@pytest.fixture(scope="module")
def tiny_model(tiny_judge):
    return LoadedModel("tiny", "digest", tiny_judge.module, tiny_judge.params, tiny_judge.tokenizer)


def test_figures_equal_those_of_the_hugging_face_backend(
    tiny_model, tiny_directory, task_directory, monkeypatch, tmp_path
):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    names = ["colors", "bbh_letters"]
    found = benchmarks.run(tiny_model, names, include=task_directory, limit=4)
    theirs = lm_eval.simple_evaluate(
        model=HFLM(pretrained=str(tiny_directory), device="cpu", dtype="float32", batch_size=2),
        tasks=names,
        task_manager=TaskManager(include_path=str(task_directory), include_defaults=False),
        limit=4,
        fewshot_random_seed=0,
    )
    for name in names:
        for one, other in zip(found["samples"][name], theirs["samples"][name], strict=True):
            assert one["doc"] == other["doc"] and one["arguments"] == other["arguments"]
    for one, other in zip(found["samples"]["colors"], theirs["samples"]["colors"], strict=True):
        for ours, their in zip(one["resps"], other["resps"], strict=True):
            assert float(ours[0][0]) == pytest.approx(float(their[0][0]), abs=1e-4)
    texts = [[s["resps"] for s in each["samples"]["bbh_letters"]] for each in (found, theirs)]
    assert texts[0] == texts[1]

    table = benchmarks.tabulate(found, "tiny")
    rows = list(zip(*table.columns.values(), strict=True))
    assert [row[:4] for row in rows] == [
        ("tiny", "colors", "acc", "none"),
        ("tiny", "colors", "acc_norm", "none"),
        ("tiny", "bbh_letters", "exact_match", "none"),
    ]
    correct = [s["acc"] for s in theirs["samples"]["colors"]]
    mean = sum(correct) / 4
    assert rows[0][4] == pytest.approx(mean)
    assert rows[0][5] == pytest.approx((mean * (1 - mean) / 3) ** 0.5)  # sample variance over n
    assert [row[6] for row in rows] == [4, 4, 4] and rows[2][7] == 1


def test_groups_count_the_documents_of_their_tasks():
    found = {
        "results": {"all": {"alias": "all", "acc,none": 0.5, "acc_stderr,none": "N/A"}},
        "group_subtasks": {"all": ["a", "b"], "a": [], "b": []},
        "n-samples": {"a": {"effective": 3}, "b": {"effective": 4}},
    }
    table = benchmarks.tabulate(found, "m")
    assert table.columns["n"] == [7] and table.columns["se"][0] != table.columns["se"][0]


@pytest.mark.slow  # lists the thousands of tasks that lm_eval brings
def test_unknown_tasks_are_told_with_near_ones(tiny_model, task_directory):
    with pytest.raises(
        benchmarks.BenchmarkError, match=r"no task .?mmlu_astronomi.*mmlu_astronomy"
    ):
        benchmarks.run(tiny_model, ["colors", "mmlu_astronomi"], include=task_directory)


def test_what_can_not_run_is_told_in_a_line(tiny_model, tmp_path, capsys):
    with pytest.raises(benchmarks.BenchmarkError, match="expected a directory of task files"):
        benchmarks.run(tiny_model, ["colors"], include=tmp_path / "none")
    (tmp_path / "gone.yaml").write_text(CHOICES.replace("DIRECTORY", str(tmp_path)))
    with pytest.raises(benchmarks.BenchmarkError, match=r"colors: .*colors.jsonl"):
        benchmarks.run(tiny_model, ["colors"], include=tmp_path)
    capsys.readouterr()  # what lm-eval says of the tasks above
    flags = ["--model", str(tmp_path / "no"), "--tasks", "colors"]
    assert command.main(flags) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert command.main([*flags, "--chat_template_kwargs", "{}"]) == 1
    assert "no meaning without --chat_template" in capsys.readouterr().err


def test_command(tiny_directory, task_directory, tmp_path, capsys):
    arguments = ["--model", str(tiny_directory), "--name", "tiny", "--tasks", "colors"]
    arguments += ["--include", str(task_directory), "--limit", "2", "--out", str(tmp_path / "o")]
    assert command.main(arguments) == 0
    assert "acc_norm" in capsys.readouterr().out
    assert (tmp_path / "o" / "utility.csv").read_text().startswith("model,task,metric,filter")
    assert json.loads((tmp_path / "o" / "results.json").read_text())["n-samples"]["colors"]
