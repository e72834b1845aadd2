"""The command is killed at random moments and started again: nothing is lost or paid twice."""

import collections
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from dignified_jax import mfrm
from tests.oracles.judge_server import JudgeServer, obey

pytest.importorskip("inspect_ai")

ROOT = pathlib.Path(__file__).parents[2]
PROMPTS, KILLS, CONNECTIONS = 40, 10, 2


def command(directory):
    lines = [{"id": str(i), "prompt": f"prompt {i}: sell it?"} for i in range(PROMPTS)]
    prompts = directory / "prompts.jsonl"
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    flags = {
        "workdir": directory / "run",
        "models": "m=embedded:tiny-qwen3",
        "prompts": prompts,
        "generation.max_new_tokens": 8,
        "judging.judges": "rules-strict,me=local:embedded:tiny-qwen3,a=openai-api/scripted/a",
        "judging.connections": CONNECTIONS,
        "scoring.method": "ridge",
        "scoring.replicates": 2,
    }
    words = [f"--config.{name}={value}" for name, value in flags.items()]
    return [sys.executable, "-m", "dignified_jax.evaluate", "--config=evaluate", *words]


@pytest.mark.slow
def test_killed_in_every_stage(tmp_path):
    server = JudgeServer()

    def behave(*call):
        time.sleep(0.2)
        return obey(*call)

    server.behave = behave
    environment = os.environ | {
        **{"SCRIPTED_BASE_URL": server.url, "SCRIPTED_API_KEY": "k", "JAX_PLATFORMS": "cpu"},
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "programs"),
    }
    words, draw = command(tmp_path), random.Random(5391)
    for _ in range(KILLS):
        process = subprocess.Popen(
            words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=draw.uniform(3.0, 25.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    last = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    server.shutdown()
    ratings = mfrm.from_long(tmp_path / "run" / "judgments.parquet")
    assert ratings.trials.shape == (1, PROMPTS, 3, 12)
    assert ratings.trials.min() == ratings.trials.max() == 1
    texts = collections.Counter(body["messages"][-1]["content"] for body in server.calls)
    assert len(texts) <= PROMPTS
    # Only what was on its way when the process died may be asked again.
    assert len(server.calls) <= len(texts) + KILLS * CONNECTIONS
    (ledger,) = (tmp_path / "run" / "responses").glob("m-*[0-9a-f].jsonl")
    ids = [json.loads(line)["id"] for line in ledger.read_text().splitlines()]
    assert sorted(ids, key=int) == [str(i) for i in range(PROMPTS)]
    assert (tmp_path / "run" / "report" / "index.html").is_file()
