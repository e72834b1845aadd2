"""Seconds of our step against the length of rows, rejects a prompt, and examples a batch."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import pathlib
import statistics
from collections.abc import Sequence

import numpy as np

from benchmarks import train_step_jax, train_step_layouts
from benchmarks.train_step_examples import ROW_UNIT, make_examples
from benchmarks.train_step_models import MODELS
from benchmarks.train_step_report import machine
from benchmarks.train_step_worker import Job, Worker
from dignified_jax.data import TokenizedExample

SEED = 1


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One example a row, rows one after another; `examples` has the batch of each value.

    Attributes:
      name: what is varied.
      values: of the x axis.
      examples: by value.
    """

    name: str
    values: tuple[float, ...]
    examples: tuple[list[TokenizedExample], ...]


@dataclasses.dataclass(frozen=True)
class Point:
    """A measured step.

    Attributes:
      value: of the sweep.
      tokens: computed, padding counted.
      seconds: of a step.
      device: its name, None on CPU.
    """

    value: float
    tokens: int
    seconds: float
    device: str | None = None


def sweeps(vocabulary: int) -> list[Sweep]:
    """Lengths from a quarter to twice the usual ones; 1 to 4 rejects; 1 to 8 examples."""
    eight = make_examples(8, vocabulary, SEED)
    scales, rejects, counts = (0.25, 0.5, 1.0, 2.0), (1, 2, 3, 4), (1, 2, 4, 8)
    scaled = tuple(make_examples(2, vocabulary, SEED, scale=scale) for scale in scales)
    lengths = tuple(float(_row_length(examples)) for examples in scaled)
    fewer = tuple(
        [
            dataclasses.replace(e, responses=e.responses[: 1 + k] + (None,) * (4 - k))
            for e in eight[:4]
        ]
        for k in rejects
    )
    return [
        Sweep("row length", lengths, scaled),
        Sweep("rejects a prompt", rejects, fewer),
        Sweep("examples a batch", counts, tuple(eight[:count] for count in counts)),
    ]


def _row_length(examples: Sequence[TokenizedExample]) -> int:
    return -(-max(example.length for example in examples) // ROW_UNIT) * ROW_UNIT


def exponent(points: Sequence[Point]) -> float:
    """Slope of log seconds over log computed tokens, by least squares: 1 is linear."""
    tokens, seconds = (np.log([getattr(p, name) for p in points]) for name in ("tokens", "seconds"))
    return float(np.polyfit(tokens, seconds, 1)[0])


def measure(sweep: Sweep, arguments: argparse.Namespace, checkpoint: str) -> list[Point]:
    """Times every value in a process of its own; medians of the rounds' steps.

    Raises:
      RuntimeError: a process died.
    """
    points = []
    for value, examples in zip(sweep.values, sweep.examples, strict=True):
        row_length = _row_length(examples)
        build = functools.partial(train_step_layouts.one_a_row, row_length=row_length)
        job = Job(
            serve=train_step_jax.serve,
            checkpoint=checkpoint,
            examples=examples,
            gpu=arguments.device == "gpu",
            remat=arguments.remat,
            warmup=max(arguments.warmup, 1),
            build=build,
            rows_per_step=1,
        )
        worker = Worker(job)
        worker.wait()
        timings = worker.measure(arguments.rounds * arguments.steps)
        worker.stop()
        if timings is None:
            raise RuntimeError(f"{sweep.name} {value:g}: the process died")
        seconds = statistics.median(timings.step)
        points.append(Point(value, len(examples) * row_length, seconds, timings.device))
        print(f"{sweep.name} {value:g}: {seconds:.3g} s", flush=True)
    return points


def run(arguments: argparse.Namespace, checkpoint: str) -> str:
    """All sweeps: a Markdown table, and train_step_<model>.png in the folder of figures."""
    vocabulary = MODELS[arguments.model]["vocab_size"]
    measured = {sweep.name: measure(sweep, arguments, checkpoint) for sweep in sweeps(vocabulary)}
    figure = pathlib.Path(arguments.figures) / f"train_step_{arguments.model}.png"
    plot(measured, figure)
    device = next(iter(measured.values()))[0].device
    lines = [
        f"{machine(device)}. {arguments.model} model, one example a row; {figure.name}",
        "",
        "| | | tokens computed | s a step | µs a token |",
        "|---|---|---|---|---|",
    ]
    for name, points in measured.items():
        for p in points:
            per_token = p.seconds / p.tokens * 1e6
            lines.append(
                f"| {name} | {p.value:g} | {p.tokens:,} | {p.seconds:.3g} | {per_token:.3g} |"
            )
    lines.append("")
    for name, points in measured.items():
        lines.append(f"{name}: seconds grow as computed tokens to the power {exponent(points):.2f}")
    return "\n".join(lines)


def plot(measured: dict[str, list[Point]], path: pathlib.Path) -> None:
    """Seconds of a step over each sweep's values, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(measured), figsize=(4 * len(measured), 3.2))
    for axis, (name, points) in zip(axes, measured.items(), strict=True):
        values, seconds = [p.value for p in points], [p.seconds for p in points]
        axis.loglog(values, seconds, "o-")
        axis.set_xticks(values, [f"{value:g}" for value in values])
        axis.minorticks_off()
        axis.set_xlabel(name)
        axis.set_title(f"exponent over tokens {exponent(points):.2f}", fontsize=9)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds a step")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
