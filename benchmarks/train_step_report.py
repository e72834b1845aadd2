"""What the benchmark of the train step found, as a Markdown table."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence

import numpy as np

from benchmarks.train_step_layouts import trees
from benchmarks.train_step_worker import Job
from dignified_jax.data import TokenizedExample
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.lora import LoraConfig
from dignified_jax.training.step import flops

_LIBRARIES = ("jax", "flax", "optax", "torch", "transformers", "trl", "peft")
_COLUMNS = (
    "",
    "s a step",
    "examples a step",
    "tokens computed an example",
    "examples/s, cached",
    "first row is faster",
    "examples/s, counted",
    "first row is faster",
    "useful tokens/s, cached",
    "useful GFLOP/s",
    "MFU",
    "peak GiB",
)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A way to train, and the batch on which it is timed.

    Attributes:
      title: for the table.
      job: what its process runs.
      computed: tokens that the batch's rows hold, padding counted.
      computed_per_example: the same over all its batches, an example.
      examples: of the batch; 4 pairs that share a prompt are one, in whatever batches they are.
    """

    title: str
    job: Job
    computed: int
    computed_per_example: float
    examples: float


@dataclasses.dataclass(frozen=True)
class Result:
    """Medians of a candidate's `Timings`, and the last of the rest."""

    step_seconds: float
    reference_seconds: float
    peak_bytes: int
    device: str | None
    log_probs: np.ndarray


@dataclasses.dataclass(frozen=True)
class Useful:
    """What an example needs on the average over the pool, however it is computed.

    Attributes:
      tokens: of its prompt and its responses, each counted once.
      flops: of a step with the reference's log-probs given.
    """

    tokens: float
    flops: float

    @classmethod
    def of(
        cls, config: DecoderConfig, pool: Sequence[TokenizedExample], lora_rank: int | None = None
    ) -> Useful:
        batch = trees(pool, row_length=max(example.length for example in pool))
        lora = LoraConfig(lora_rank)
        return cls(
            tokens=flops.useful_tokens(batch) / len(pool),
            flops=flops.useful_flops(config, batch, needs_reference=False, lora=lora) / len(pool),
        )


def seconds_per_example(candidate: Candidate, seconds: float) -> float:
    """From the seconds of its batch to those of all its batches, by computed tokens."""
    return seconds * candidate.computed_per_example / candidate.computed


def table(
    made: Sequence[Candidate], results: Sequence[Result | None], useful: Useful, dtype: str
) -> str:
    """One row a candidate; the first that did not fail is the one that others are compared with.

    "first row is faster" is the seconds an example of a row over those of the first.
    """
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    first: tuple[float, float] | None = None
    for candidate, result in zip(made, results, strict=True):
        if result is None:
            cells = ["failed: see above"] + [""] * (len(_COLUMNS) - 2)
            lines.append(f"| {candidate.title} | " + " | ".join(cells) + " |")
            continue
        cached = seconds_per_example(candidate, result.step_seconds)
        counted = cached + seconds_per_example(candidate, result.reference_seconds)
        first = first or (cached, counted)
        achieved = useful.flops / cached
        peak = flops.peak_flops(result.device, dtype) if result.device else None
        cells = [
            candidate.title,
            f"{result.step_seconds:.3g}",
            f"{candidate.examples:g}",
            f"{candidate.computed_per_example:,.0f}",
            f"{1 / cached:.3g}",
            f"{cached / first[0]:.2f}x",
            f"{1 / counted:.3g}",
            f"{counted / first[1]:.2f}x",
            f"{useful.tokens / cached:,.0f}",
            f"{achieved / 1e9:,.3g}",
            "unknown peak" if peak is None else f"{flops.utilisation(achieved, 1.0, 1, peak):.1%}",
            f"{result.peak_bytes / 2**30:.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def difference_of_log_probs(
    made: Sequence[Candidate], results: Sequence[Result | None]
) -> float | None:
    """The largest, relative to the largest log-prob, between candidates that timed equal batches.

    None where no two did.
    """
    by_batch: dict[tuple[bytes, ...], np.ndarray] = {}
    differences = []
    for candidate, result in zip(made, results, strict=True):
        if result is None:
            continue
        key = tuple(
            ids.tobytes()
            for example in candidate.job.examples
            for ids in (example.prompt, *example.responses)
            if ids is not None
        )
        other = by_batch.setdefault(key, result.log_probs)
        if other is not result.log_probs:
            differences.append(np.abs(other - result.log_probs).max() / np.abs(other).max())
    return max(differences, default=None)


def machine(device: str | None) -> str:
    """Hardware, versions and date, for the line above a table."""
    where = device or f"{len(os.sched_getaffinity(0))} virtual CPU cores ({_processor()})"
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)
    return f"{where}; Python {platform.python_version()}, {versions}; {datetime.date.today()}"


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()
