"""Checks and measures one GPU, in at most eight minutes, without a network.

    python -m benchmarks.gpu --out gpu                 # an H100 of 80 GB, or more
    python -m benchmarks.gpu --size tiny --out tiny    # the same in small, on a CPU

Every part is a process of its own with a time limit, so that one that fails, hangs or runs out of
memory leaves the others alone; what it had found by then counts. The checks come first, then what
tells most. OUT.json and OUT.md are written anew after every part. TRL is timed beside where it is
installed. With --parts only some are run. Exit status: 1 where a check or a part failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from importlib.util import find_spec

from benchmarks.gpu.result import Result, markdown, read
from benchmarks.gpu.sizes import SIZES

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "trl")
_DEVICE_SECONDS = 60
_LEAST_SECONDS = 10.0  # a part that has less is not begun


@dataclasses.dataclass(frozen=True)
class Part:
    """A process of the benchmark: its name, the words after `python -m`, and its longest time."""

    name: str
    words: tuple[str, ...]
    seconds: float


def parts(size: str) -> list[Part]:
    """All parts, in the order in which they are run."""
    of_size = ("--size", size)
    longer = 5.0 if size == "tiny" else 1.0  # a CPU with other work may compile for minutes

    def part(name: str, seconds: float, *words: str) -> Part:
        return Part(name, (f"benchmarks.gpu.{words[0]}", *words[1:]), longer * seconds)

    made = [part("attention", 90, "attention", *of_size), part("steps", 90, "steps")]
    for number in range(len(SIZES[size].trainings)):
        words = ("training", *of_size, "--number", str(number))
        made.append(part(f"training_{number}", 120, *words))
    for number in range(len(SIZES[size].ratings)):
        words = ("ratings", *of_size, "--number", str(number))
        made.append(part(f"ratings_{number}", 60, *words))
    made.append(part("sampling", 90, "sampling", *of_size))
    model, device = ("tiny", "cpu") if size == "tiny" else ("qwen3-0.6b", "gpu")
    beside = ("--candidates", "ours", "trl-grouped", "--rounds", "1", "--pool", "64")
    trl = ("benchmarks.train_step", "--model", model, "--device", device, *beside)
    made.append(Part("trl", trl, longer * 150))
    return made


def run(part: Part, seconds: float) -> tuple[list[Result], str]:
    """What a part found, and what it printed beside; a part that failed says so itself."""
    results, printed = [], []
    environment = {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # so that the most in use is what was needed
        "XLA_CLIENT_MEM_FRACTION": "0.94",
        "HF_HUB_OFFLINE": "1",
        **os.environ,
    }
    command = [sys.executable, "-m", *part.words]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,  # to be stopped with the processes that it starts
    )
    late = threading.Event()

    def stop() -> None:
        late.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, stop)
    timer.start()
    began = time.monotonic()
    for line in process.stdout:
        found = read(line)
        if found is None:
            printed.append(line)
        else:
            results.append(found)
            print(_line(found), flush=True)
    status = process.wait()
    timer.cancel()
    took = time.monotonic() - began
    if status:
        why = f"stopped after {seconds:.3g} s" if late.is_set() else f"exit status {status}"
        last = next((line.strip() for line in reversed(printed) if line.strip()), "")
        results.append(Result("parts", part.name, took, "s", False, f"{why}; {last}"[:300]))
    else:
        results.append(Result("parts", part.name, took, "s", True))
    print(_line(results[-1]), flush=True)
    return results, "".join(printed)


def _line(result: Result) -> str:
    value = "" if result.value is None else f" {result.value:.4g} {result.unit}"
    state = {True: " ok", False: " FAILED", None: ""}[result.passed]
    return f"{result.part}: {result.name}{value}{state} {result.note}".rstrip()


def head() -> list[str]:
    """What was run, where and when."""
    versions = []
    for library in _LIBRARIES:
        try:
            versions.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    # In a process of its own: this one must not hold the device.
    asked = "import jax; d = jax.devices(); print(len(d), d[0].device_kind, sep=' x ')"
    try:
        found = subprocess.run(
            [sys.executable, "-c", asked], capture_output=True, text=True, timeout=_DEVICE_SECONDS
        )
        device = (found.stdout or found.stderr).strip().splitlines()[-1:] or ["none"]
    except subprocess.TimeoutExpired:  # a driver that hangs: the parts will say so too
        device = [f"no device after {_DEVICE_SECONDS} s"]
    return [
        f"{device[0]}; Python {platform.python_version()}, {', '.join(versions)}",
        f"{datetime.date.today()}; XLA_FLAGS={os.environ.get('XLA_FLAGS', '')!r}",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts")
    parser.add_argument("--out", default="gpu", help="OUT.json and OUT.md are written")
    parser.add_argument("--parts", nargs="+", metavar="PART", help="such as attention training_0")
    options = parser.parse_args(arguments)
    made = parts(options.size)
    names = [part.name for part in made]
    if unknown := set(options.parts or ()) - set(names):
        parser.error(f"--parts: expected some of {', '.join(names)}; found {', '.join(unknown)}")
    until = time.monotonic() + 60 * options.minutes
    lines, results, printed = head(), [], {}
    print("\n".join(lines), flush=True)
    for part in made:
        left = until - time.monotonic()
        if options.parts and part.name not in options.parts:
            continue
        if part.name == "trl" and not all(map(find_spec, ("torch", "trl"))):
            results.append(Result("parts", part.name, note="skipped: TRL is not installed"))
        elif left < _LEAST_SECONDS:
            results.append(Result("parts", part.name, note="skipped: no time left"))
        else:
            found, printed[part.name] = run(part, min(part.seconds, left))
            results += found
        _write(pathlib.Path(options.out), lines, results, printed)
    print(f"written: {options.out}.json, {options.out}.md")
    return int(any(result.passed is False for result in results))


def _write(
    out: pathlib.Path, lines: list[str], results: list[Result], printed: dict[str, str]
) -> None:
    content = {
        "head": lines,
        "results": [dataclasses.asdict(result) for result in results],
        "printed": printed,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_name(out.name + ".json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    table = printed.get("trl", "")
    beside = f"\n## TRL beside\n\n{table}" if "|" in table else ""
    text = markdown(lines, results) + beside
    out.with_name(out.name + ".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
