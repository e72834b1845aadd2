"""Seconds of `python -m dignified_jax.mfrm` on ratings of one study's size, start included.

    python -m benchmarks.mfrm_command                       # simulated, 11 x 96 x 5 x 6
    python -m benchmarks.mfrm_command ratings.csv.gz        # a file, with its columns' usual names
    python -m benchmarks.mfrm_command --shape 10,1500,3,3   # models, questions, judges, items

Each line is a process of its own: what is asked for is added line by line, all of it is run again
with JAX's cache of compiled programs (JAX_COMPILATION_CACHE_DIR) empty and then full.
"""

from __future__ import annotations

import argparse
import itertools
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from benchmarks.mfrm import simulate

# What is told -> options of the command.
PARTS = {
    "fit, tables, bias, written": ["--no-plots"],
    "and figures in the page": [],
    "and each judge left out": ["--leave-one-out"],
    "and 1,000 bootstrap samples": ["--leave-one-out", "--bootstrap", "1000"],
}


def write(path: pathlib.Path, shape: tuple[int, ...]) -> None:
    """Writes simulated yes/no ratings as a long table."""
    ratings = simulate(shape)
    lines = ["model,question,judge,rubric,score"]
    for m, q, j, i in itertools.product(*map(range, shape)):
        lines.append(f"m{m:02},q{q:04},j{j},i{i},{int(ratings[m, q, j, i])}")
    path.write_text("\n".join(lines) + "\n")


def run(options: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall and processor seconds of the command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "dignified_jax.mfrm", *options]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", nargs="?", type=pathlib.Path, help="a file; default: simulated")
    parser.add_argument("--shape", default="11,96,5,6", metavar="M,Q,J,I", help="if simulated")
    arguments = parser.parse_args()
    shape = tuple(int(size) for size in arguments.shape.split(","))
    if len(shape) != 4 or min(shape) < 1:
        parser.error(f"--shape must be four positive numbers, found {arguments.shape!r}")
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    print(f"{'':34}{'wall s':>8}{'processor s':>13}")
    with tempfile.TemporaryDirectory() as folder:
        ratings = arguments.ratings or pathlib.Path(folder) / "ratings.csv"
        if arguments.ratings is None:
            write(ratings, shape)
        for number, (name, options) in enumerate(PARTS.items()):
            out = ["--out", f"{folder}/{number}"]
            wall, processor = run([str(ratings), *out, *options], environment)
            print(f"{name:34}{wall:8.1f}{processor:13.1f}", flush=True)
        environment["JAX_COMPILATION_CACHE_DIR"] = f"{folder}/programs"
        for name in ("all, programs kept", "all, programs read"):
            wall, processor = run([str(ratings), *out, *options], environment)
            print(f"{name:34}{wall:8.1f}{processor:13.1f}", flush=True)


if __name__ == "__main__":
    main()
