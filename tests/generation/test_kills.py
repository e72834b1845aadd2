"""A command that is killed at any moment loses nothing that is written, and asks nothing twice."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

import dignified_jax
from tests.generation.loopback import serving

PROMPTS = 60


@pytest.mark.slow
def test_responses_survive_kills(tmp_path):
    """Ten kills; at most the answers in flight are asked again: `concurrency` for each kill."""
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    records = [{"id": n, "prompt": f"prompt {n}"} for n in range(PROMPTS)]
    prompts.write_text("".join(json.dumps(record) + "\n" for record in records))
    random_pause = random.Random(0)
    answered = threading.Semaphore(0)

    def script(handler, text, before):
        time.sleep(0.02)
        handler.answer(f"re: {text}")
        answered.release()

    with serving(script) as server:
        words = [sys.executable, "-m", "dignified_jax.generate", "--endpoint", server.url]
        words += [
            "--model",
            "m",
            "--concurrency",
            "2",
            "--prompts",
            str(prompts),
            "--out",
            str(out),
        ]
        root = str(pathlib.Path(dignified_jax.__file__).parents[1])
        environment = os.environ | {"PYTHONPATH": root}
        for _ in range(10):
            process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
            for _ in range(4):
                answered.acquire(timeout=60)
            time.sleep(random_pause.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert subprocess.run(words, env=environment, check=False).returncode == 0
        assert len(server.seen) <= PROMPTS + 10 * 2
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["response"] for line in found] == [f"re: prompt {n}" for n in range(PROMPTS)]
