"""How long a run takes to its first step, and what its data take, on rows made from a seed.

    python -m benchmarks.data_start --rows 10000 100000
    python -m benchmarks.data_start --rows 1000000 --stages data

Rows are sentences of the embedded ones in random order, about 1.8 kB each. "data" prepares a run's
batches in a process of its own, without and with a cache; "start" is the time from the command to
its first step, once more after that has filled the caches: with an empty cache of token ids, and
with a full one.

Prints Markdown: seconds by the clock, CPU seconds of the process and of those it started, and the
most memory that it held: its own, and with the pages of files that it had mapped.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib import metadata

from dignified_jax.data import DIMENSIONS
from dignified_jax.embedded import resolve

_TEST_ROWS = 64
_FIRST_STEP = re.compile(rb"^\s*1/1 ", re.MULTILINE)


def rows(count: int, seed: int) -> Iterator[dict[str, object]]:
    """Yields rows of as many sentences as the embedded ones have, with 1 to 4 dimensions."""
    source = pathlib.Path(resolve("embedded:personaknob_mini/train.jsonl"))
    sentences: dict[str, list[str]] = {}
    for line in source.read_text(encoding="utf-8").splitlines():
        for name, value in json.loads(line).items():
            if isinstance(value, str) and value:
                sentences.setdefault(name, []).extend(re.split(r"(?<=[.?!]) ", value))
    rng = random.Random(seed)

    def text(name: str, length: int) -> str:
        return " ".join(rng.choices(sentences[name], k=length))

    for number in range(count):
        mask = rng.sample(DIMENSIONS, rng.choice((1, 2, 2, 3, 4)))
        row = {
            "mask": mask,
            "prompt": f"{number}: {text('prompt', 3)}",
            "golden": text("golden", 4),
        }
        row |= {name: text(name, 1) for name in ("seed_scene", "context", "trigger")}
        row |= {f"reject_{name}": text(f"reject_{name}", 4) for name in mask}
        yield row


def write(file: pathlib.Path, count: int, seed: int) -> None:
    """Writes rows as JSON lines."""
    with file.open("w", encoding="utf-8") as stream:
        for row in rows(count, seed):
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def flags(directory: pathlib.Path, cache: pathlib.Path) -> dict[str, str]:
    """Returns the configuration of a run over the rows in a directory, field to value."""
    return {
        "max_steps": "1",
        "workdir": str(directory / "run"),
        "compilation_cache": str(directory / "compiled"),
        "data.train": str(directory / "train.jsonl"),
        "data.test": str(directory / "test.jsonl"),
        "data.validation_fraction": "0",
        "data.on_too_long": "truncate",
        "data.cache": str(cache),
    }


def prepare(directory: pathlib.Path, cache: pathlib.Path) -> dict[str, float]:
    """Returns seconds and bytes of preparing the batches, in this process."""
    from dignified_jax.training import command, config
    from dignified_jax.training.inputs.data import prepare_data

    given = [f"--config.{name}={value}" for name, value in flags(directory, cache).items()]
    options, overrides = command.parse_arguments(
        command.make_parser("train"), ["--config=lagdpo", *given], list
    )
    parsed = config.parse(command.load(options, overrides, "lagdpo", lambda values: "").values)
    peak = _PrivatePeak()
    started, before = time.monotonic(), _cpu_seconds()
    prepare_data(parsed, directory, 1, lambda text: None)
    found = {"seconds": time.monotonic() - started, "cpu": _cpu_seconds() - before}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return found | {"private": peak.stop(), "mapped": most}


class _PrivatePeak:
    """The most memory of this process that is no page of a file, looked at ten times a second."""

    def __init__(self) -> None:
        self._most, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while True:
            text = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
            self._most = max(self._most, int(re.search(r"RssAnon:\s+(\d+)", text)[1]) * 1024)
            if self._ended.wait(0.1):
                return

    def stop(self) -> int:
        """Returns it in bytes."""
        self._ended.set()
        self._thread.join()
        return self._most


def _cpu_seconds() -> float:
    """Of this process, and of those that it started and that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def in_a_process(directory: pathlib.Path, cache: pathlib.Path) -> dict[str, float]:
    """Returns `prepare` of a fresh process."""
    command = [sys.executable, "-m", "benchmarks.data_start", "--prepare", directory, cache]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def start(directory: pathlib.Path, cache: pathlib.Path) -> dict[str, float]:
    """Returns seconds from the command to the end of its first step; the run is ended there."""
    shutil.rmtree(directory / "run", ignore_errors=True)
    command = [sys.executable, "-m", "dignified_jax.train", "--config=lagdpo"]
    command += [f"--config.{name}={value}" for name, value in flags(directory, cache).items()]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        said = b""
        while not _FIRST_STEP.search(said):
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece:
                raise RuntimeError(f"the run ended before its first step: {said.decode()}")
            said += piece
        seconds, cpu = time.monotonic() - started, _cpu_of(process.pid)
        process.kill()
    return {"seconds": seconds, "cpu": cpu}


def _cpu_of(process: int) -> float:
    """CPU seconds of a process and of those that it started and that have ended."""
    fields = pathlib.Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    return sum(map(int, fields.split()[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", type=int, default=[10_000])
    parser.add_argument("--stages", nargs="+", choices=("data", "start"), default=["data", "start"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prepare", nargs=2, type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        print(json.dumps(prepare(*arguments.prepare)))
        return
    versions = ", ".join(
        f"{n} {metadata.version(n)}" for n in ("jax", "transformers", "tokenizers")
    )
    load = os.getloadavg()[0]
    print(
        f"{len(os.sched_getaffinity(0))} cores ({platform.machine()}), load {load:.1f} at the "
        f"start; Python {platform.python_version()}, {versions}\n"
    )
    print("| rows | | seconds | CPU seconds | memory, GB | with mapped files, GB |")
    print("|---|---|---|---|---|---|")
    for count in arguments.rows:
        with tempfile.TemporaryDirectory(prefix="data_start") as root:
            directory = pathlib.Path(root)
            write(directory / "train.jsonl", count, arguments.seed)
            write(directory / "test.jsonl", _TEST_ROWS, arguments.seed + 1)
            if "data" in arguments.stages:
                for name in ("no cache", "cached"):
                    _show(count, f"batches, {name}", in_a_process(directory, directory / "tokens"))
            if "start" in arguments.stages:
                start(directory, directory / "other")  # compiles
                for name in ("first", "other"):
                    full = "full" if name == "other" else "empty"
                    found = start(directory, directory / name)
                    _show(count, f"first step, {full} cache of token ids", found)


def _show(count: int, what: str, found: dict[str, float]) -> None:
    memory = [f"{found[name] / 1e9:.2f}" if name in found else "" for name in ("private", "mapped")]
    cells = [f"{count:,}", what, f"{found['seconds']:.1f}", f"{found['cpu']:.1f}", *memory]
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
