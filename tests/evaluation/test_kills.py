"""The command is killed in every stage, at ten moments each: nothing is lost or paid twice."""

import collections
import contextlib
import json
import os
import pathlib
import random
import signal
import time

import pytest

from dignified_jax import mfrm
from tests.evaluation.forked_commands import Starter, wait_until
from tests.oracles.judge_server import JudgeServer, obey

pytest.importorskip("inspect_ai")

ROOT = pathlib.Path(__file__).parents[2]
PROMPTS, KILLS, CONNECTIONS = 60, 10, 2
MORE = 10


def write_prompts(directory, count, text="prompt {}: sell it?"):
    lines = [{"id": str(i), "prompt": text.format(i)} for i in range(count)]
    file = directory / "prompts.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def arguments(directory, judges=("a",)):
    endpoints = ",".join(f"{name}=openai-api/scripted/{name}" for name in judges)
    flags = {
        "workdir": directory / "run",
        "models": "m=embedded:tiny-qwen3",
        "prompts": directory / "prompts.jsonl",
        **{"generation.max_new_tokens": 6, "generation.batch_size": 1},
        "judging.judges": f"rules-strict,me=local:embedded:tiny-qwen3,{endpoints}",
        "judging.connections": CONNECTIONS,
        **{"scoring.method": "ridge", "scoring.replicates": 100},
    }
    return ["--config=evaluate", *(f"--config.{name}={value}" for name, value in flags.items())]


def lines_of(directory, pattern):
    """Whole lines in the files of a pattern."""
    return sum(file.read_bytes().count(b"\n") for file in directory.glob(pattern))


@pytest.mark.slow
def test_killed_in_every_stage(tmp_path):
    server, run = JudgeServer(), tmp_path / "run"

    def behave(*call):
        time.sleep(0.1)
        return obey(*call)

    server.behave = behave
    environment = os.environ | {
        **{"SCRIPTED_BASE_URL": server.url, "SCRIPTED_API_KEY": "k", "JAX_PLATFORMS": "cpu"},
        **{"PYTHONPATH": str(ROOT), "XLA_FLAGS": "", "HF_HUB_OFFLINE": "1"},
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    write_prompts(tmp_path, PROMPTS)
    draw = random.Random(5391)
    stages = {
        "generate": lambda: lines_of(run, "responses/m-*[0-9a-f].jsonl"),
        "judge here": lambda: lines_of(run, "judgments/me-*.jsonl"),
        "judge there": lambda: len(server.calls),
        "report": lambda: (run / "judgments.parquet").exists(),
    }
    starter = Starter(environment, tmp_path / "log")
    hits = collections.Counter()
    try:
        for stage, progress in stages.items():
            for _ in range(KILLS):
                if stage != "report" and progress() >= PROMPTS - 1:
                    break  # all of it is done
                hits[stage] += killed(starter, tmp_path, stage, progress, draw)
        kills = sum(hits.values())
        last = finish(starter, arguments(tmp_path))
        # Some stages are done before they are killed ten times.
        assert all(hits[stage] >= 3 for stage in stages), (hits, last)
        check(tmp_path, judges=3, prompts=PROMPTS)
        texts = collections.Counter(body["messages"][-1]["content"] for body in server.calls)
        assert len(texts) <= PROMPTS
        # Only what was on its way when the process died may be asked again.
        assert len(server.calls) <= len(texts) + kills * CONNECTIONS

        # A third judge: only it is asked. Prompts appended: only those are.
        distinct = len(texts)
        calls = server.count()
        finish(starter, arguments(tmp_path, ("a", "b")))
        assert server.count() == calls | {"b": distinct}
        write_prompts(tmp_path, PROMPTS + MORE)
        finish(starter, arguments(tmp_path, ("a", "b")))
        check(tmp_path, judges=4, prompts=PROMPTS + MORE)
        asked = {body["messages"][-1]["content"] for body in server.calls}
        assert server.count() == {"a": calls["a"] + len(asked) - distinct, "b": len(asked)}
        assert distinct < len(asked) <= distinct + MORE
    finally:
        starter.close()
        server.shutdown()


def killed(starter, directory, stage, progress, draw):
    """Starts the command and kills it in a stage; whether it was killed there."""
    table = directory / "run" / "judgments.parquet"
    if stage == "report":
        table.unlink(missing_ok=True)
    wanted = 1 if stage == "report" else progress() + draw.randint(1, 5)
    pid = starter.start(arguments(directory))
    seen = wait_until(lambda: progress() >= wanted, lambda: running(pid))
    time.sleep(draw.uniform(0, 1.0 if stage == "report" else 0.05))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return starter.status() == -signal.SIGKILL and seen


def running(pid):
    """Whether a process is there and has not ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def finish(starter, words):
    starter.start(words)
    assert starter.status() == 0, starter.log()
    return starter.log()


def check(directory, judges, prompts):
    """Every judgment is there once."""
    run = directory / "run"
    ratings = mfrm.from_long(run / "judgments.parquet")
    assert ratings.trials.shape == (1, prompts, judges, 12)
    assert ratings.trials.min() == ratings.trials.max() == 1
    (ledger,) = run.glob("responses/m-*[0-9a-f].jsonl")
    ids = [json.loads(line)["id"] for line in ledger.read_text().splitlines()]
    assert sorted(ids, key=int) == [str(i) for i in range(prompts)]
    assert (run / "report" / "index.html").is_file()
