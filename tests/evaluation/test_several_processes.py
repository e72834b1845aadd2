"""Commands whose processes share responses and verdicts: the files that one process makes."""

import json
import signal
import time

import pytest

from tests.oracles import job, tiny_run

pytestmark = pytest.mark.slow

PROMPTS = [{"id": str(n), "prompt": f"Will boat {n} float?"} for n in range(9)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    directory = tmp_path_factory.mktemp("source")
    tiny_run.write_model(directory / "model")
    lines = "".join(json.dumps(prompt) + "\n" for prompt in PROMPTS)
    (directory / "prompts.jsonl").write_text(lines)
    return directory


def run(count, module, *flags, devices=1):
    found = job.end(job.start(count, module, *flags, devices=devices))
    assert [status for status, _ in found] == [0] * count, found
    for _, output in found[1:]:  # the first one shows; XLA's own lines can't be told otherwise
        assert all(line.startswith("[Gloo]") for line in output.splitlines()), found
    return found[0][1]


def evaluation(root, workdir, *more):
    return (
        "--config=evaluate",
        f"--config.workdir={workdir}",
        f"--config.models=('a={root / 'model'}',)",
        f"--config.prompts={root / 'prompts.jsonl'}",
        f"--config.judging.judges=('j=local:{root / 'model'}', 'k=rules-lenient')",
        "--config.generation.max_new_tokens=12",
        "--config.until=judge",
        *more,
    )


def without_times(file):
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(file).drop_columns(["time"]).to_pylist()
    return [
        {k: round(v, 4) if k == "log_odds" and v is not None else v for k, v in row.items()}
        for row in rows
    ]


def test_an_evaluation_makes_the_files_of_one_process(root, tmp_path):
    for count in (1, 2):
        assert "judgments: " in run(count, "evaluate", *evaluation(root, tmp_path / str(count)))
    one, two = (tmp_path / name for name in ("1", "2"))
    for name in ("responses/a-all.jsonl",):
        found = [next(each.glob("responses/*all.jsonl")).read_bytes() for each in (one, two)]
        assert found[0] == found[1], name
    tables = [without_times(next(each.rglob("judgments.parquet"))) for each in (one, two)]
    assert tables[0] == tables[1] and len(tables[0]) > 9
    ledgers = [
        len(next(each.glob("responses/a-*[!l].jsonl")).read_text().splitlines())
        for each in (one, two)
    ]
    assert ledgers == [len(PROMPTS)] * 2


def test_responses_of_several_processes_are_those_of_one(root, tmp_path):
    def flags(out):
        return (
            *("--model", str(root / "model"), "--prompts", str(root / "prompts.jsonl")),
            *("--out", str(out), "--max_new_tokens", "12", "--temperature", "0.8"),
        )

    told = run(1, "generate", *flags(tmp_path / "1.jsonl"))
    assert "9 of 9 prompts" in told
    assert "9 of 9 prompts" in run(2, "generate", *flags(tmp_path / "2.jsonl"), devices=2)
    lines = [
        [json.loads(line)["response"] for line in (tmp_path / name).open()]
        for name in ("1.jsonl", "2.jsonl")
    ]
    assert lines[0] == lines[1]


def test_one_killed_in_mid_evaluation_ends_all_and_loses_nothing(root, tmp_path):
    flags = evaluation(
        root,
        tmp_path / "run",
        "--config.until=generate",
        "--config.generation.batch_size=1",
        "--config.generation.max_new_tokens=200",
    )
    processes = job.start(2, "evaluate", *flags, devices=1)
    until = time.monotonic() + 300
    ledger = []
    while not ledger or not ledger[0].read_text().count("\n"):
        assert time.monotonic() < until
        ledger = list((tmp_path / "run" / "responses").glob("a-*[!l].jsonl"))
        time.sleep(0.005)
    processes[1].send_signal(signal.SIGKILL)
    output, _ = processes[0].communicate(timeout=20)
    assert processes[0].returncode == 1
    assert "error: process 1 on " in output and "is lost (killed" in output
    job.kill(processes)
    kept = ledger[0].read_text().splitlines()
    assert 0 < len(kept) < len(PROMPTS)
    told = run(2, "evaluate", *flags)
    assert f"{len(PROMPTS) - len(kept)} responses to generate" in told
    assert ledger[0].read_text().splitlines()[: len(kept)] == kept


def test_steered_responses_are_shared_and_what_has_no_shares_is_refused(root, tmp_path):
    model = str(root / "model")
    generation = ("--max_new_tokens", "8", "--temperature", "0")
    for count in (1, 2):
        directory = tmp_path / str(count)
        vectors = ("vectors", "--model", model, "--workdir", str(directory / "v"))
        run(count, "analyze", *vectors, "--dimensions", "A", *generation)
        steer = (
            "steer",
            "--model",
            f"m={model}",
            "--vectors",
            str(directory / "v" / "vectors.safetensors"),
        )
        run(
            count,
            "analyze",
            *steer,
            "--workdir",
            str(directory / "s"),
            "--alphas=2",
            *generation,
            "--most_prompts",
            "5",
            "--judge",
            "rules-lenient",
        )
    one, two = (sorted((tmp_path / n).rglob("responses/*.jsonl")) for n in ("1", "2"))
    assert [file.name for file in one] == [file.name for file in two] and len(one) >= 3
    for left, right in zip(one, two, strict=True):
        texts = [
            {r["id"]: r["response"] for r in map(json.loads, file.open())} for file in (left, right)
        ]
        assert texts[0] == texts[1]
    drift = ("drift", "--base", model, "--model", f"m={model}", "--workdir", str(tmp_path / "d"))
    for status, output in job.end(job.start(2, "analyze", *drift, devices=1)):
        assert status == 1 and "error: drift runs in one process: it reads" in output
