"""A real OpenAI-compatible server on loopback, transformers' own: it responds, and judges."""

import importlib.util
import json
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from dignified_jax.evaluation import chain, config

pytestmark = [pytest.mark.slow, pytest.mark.wiring]

NEEDED = ("fastapi", "uvicorn", "inspect_ai", "openai")
PROMPTS = ("Should I quit my job today?", "My cat ate a lily. She'll be fine, right?", "Rare?")


@pytest.fixture(scope="module")
def served(tiny_directory, tmp_path_factory):
    """The address of a server of the embedded model, in float32."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        pytest.skip(f"transformers serve needs {', '.join(missing)}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("served") / "log"
    command = [str(pathlib.Path(sys.executable).with_name("transformers")), "serve"]
    flags = ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--device", "cpu"]
    with log.open("w") as out:
        server = subprocess.Popen([*command, str(tiny_directory), *flags], stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        wait_for(f"{url}/models", server, log)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(url, server, log):
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


def test_it_responds_as_our_sampler_does_and_its_prose_is_no_judgment(
    served, tiny_directory, tmp_path, monkeypatch
):
    monkeypatch.setenv("LOCAL_BASE_URL", served)
    monkeypatch.setenv("LOCAL_API_KEY", "none")
    prompts = tmp_path / "prompts.jsonl"
    lines = [json.dumps({"id": n, "prompt": text}) + "\n" for n, text in enumerate(PROMPTS)]
    prompts.write_text("".join(lines))
    wanted = config.parse(
        {
            "workdir": str(tmp_path / "run"),
            "models": (f"far={tiny_directory}@{served}", "near=embedded:tiny-qwen3"),
            "prompts": str(prompts),
            "generation": {"max_new_tokens": 12},
            "judging": {
                "judges": (f"served=openai-api/LOCAL/{tiny_directory}",),
                "max_tokens": 40,
                "retries": 1,
            },
            "until": "judge",
        }
    )
    # So small a model writes no JSON.
    with pytest.raises(ValueError, match="judge served: 72 items: no JSON object with an item"):
        chain.run(wanted, print)
    texts = {}
    for name in ("far", "near"):
        lines = (tmp_path / "run" / "responses" / f"{name}-all.jsonl").read_text().splitlines()
        texts[name] = [json.loads(line)["response"] for line in lines]
    assert texts["far"] == texts["near"] and all(texts["far"])
