"""Time of a Lag-DPO step on token trees against padded rows and against TRL's DPOTrainer.

    python -m benchmarks.train_step                            # tiny model: minutes
    python -m benchmarks.train_step --model 90m                # CPU: the tables of RESULTS.md
    python -m benchmarks.train_step --model qwen3-4b --device gpu
    python -m benchmarks.train_step --model qwen3-4b --device gpu --lora-rank 16
    python -m benchmarks.train_step --model tiny --sweep       # our step's time by size, with plots

All candidates train the same random checkpoint, with the same optimiser (AdamW, clipping) and in
the same dtype, on the same pool of synthetic examples (`benchmarks/train_step_examples.py`), each
in batches of its own making, at random or grouped by length: --examples examples for ours, --pairs
pairs, or as many examples as have those pairs, for the others. Of its batches each candidate times
the one whose number of computed tokens, padding counted, is nearest to their mean, and

    seconds per example = seconds of the step / computed tokens of the batch
                          x computed tokens of all batches / examples in them

"cached": policy forward and backward, optimiser, dual; the reference's log-probs were computed
before. "counted": with the time of that computation, on the same rows, added. Batches are laid
out (TRL: collated) and moved to the device within the time. On the CPU the candidates take turns,
on a GPU they follow one another. Medians of all timed steps.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Sequence

from benchmarks import train_step_report, train_step_sweep
from benchmarks.train_step_candidates import LONGEST_ROW, NAMES, REJECTS, candidates, make_pool
from benchmarks.train_step_models import MODELS, write_checkpoint
from benchmarks.train_step_report import Candidate, Result, Useful, machine, table
from benchmarks.train_step_worker import Timings, Worker
from dignified_jax.models.hf.config import read_config

POOL = 1024  # examples; those of 400 pairs are grouped by length at a time
FIGURES = pathlib.Path(__file__).parent / "figures"


def run(made: Sequence[Candidate], rounds: int, steps: int, in_turns: bool) -> list[Result | None]:
    """Times all candidates; None for one whose process died."""
    timings: list[list[Timings | None]] = [[] for _ in made]

    def measure(number: int, worker: Worker) -> None:
        timing = worker.measure(steps)
        timings[number].append(timing)
        said = (
            worker.death() if timing is None else f"{timing.step} s, reference {timing.reference} s"
        )
        print(f"{made[number].title}: {said}", file=sys.stderr, flush=True)

    if in_turns:
        workers = [Worker(candidate.job) for candidate in made]
        for worker in workers:
            worker.wait()
        for _ in range(rounds):
            for number, worker in enumerate(workers):
                measure(number, worker)
        for worker in workers:
            worker.stop()
    else:
        for number, candidate in enumerate(made):
            worker = Worker(candidate.job)
            worker.wait()
            for _ in range(rounds):
                measure(number, worker)
            worker.stop()
    return [
        None if None in found else _result(candidate, found)
        for candidate, found in zip(made, timings, strict=True)
    ]


def _result(candidate: Candidate, timings: Sequence[Timings]) -> Result:
    def median(field: str) -> float:
        return statistics.median(s for timing in timings for s in getattr(timing, field))

    last = timings[-1]
    return Result(
        step_seconds=median("step"),
        reference_seconds=median("reference"),
        peak_bytes=last.peak_bytes,
        device=last.device,
        log_probs=last.log_probs,
    )


def main(argv: Sequence[str] | None = None) -> None:
    arguments = _parse(argv)
    on_gpu = arguments.device == "gpu"
    dtype = "bfloat16" if on_gpu else "float32"
    # Before the processes start; this one computes nothing.
    os.environ |= {
        "JAX_PLATFORMS": "cuda" if on_gpu else "cpu",
        # A cached program is as parallel as the number of cores for which it was compiled.
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TQDM_DISABLE": "1",
    }
    with tempfile.TemporaryDirectory() as checkpoint:
        write_checkpoint(arguments.model, checkpoint, dtype)
        if arguments.sweep:
            text = train_step_sweep.run(arguments, checkpoint)
        else:
            text = compare(arguments, checkpoint, dtype)
    print(text)
    if arguments.out is not None:
        pathlib.Path(arguments.out).write_text(text + "\n", encoding="utf-8")


def compare(arguments: argparse.Namespace, checkpoint: str, dtype: str) -> str:
    """The table of all candidates, with a head that says what was run."""
    made = candidates(arguments, checkpoint)
    results = run(made, arguments.rounds, arguments.steps, in_turns=arguments.device == "cpu")
    if not any(results):
        raise SystemExit("no candidate ran to its end")
    pool = make_pool(arguments)
    useful = Useful.of(read_config(checkpoint), pool, arguments.lora_rank)
    difference = train_step_report.difference_of_log_probs(made, results)
    device = next(result for result in results if result).device
    trained = "" if arguments.lora_rank is None else f", LoRA of rank {arguments.lora_rank}"
    head = (
        f"{machine(device)}. {arguments.model} model{trained}, {dtype}, layers "
        f"{'recomputed' if made[0].job.remat else 'not recomputed'}; {len(pool):,} examples of "
        f"{REJECTS} rejects, {useful.tokens:,.0f} useful tokens an example. Medians of "
        f"{arguments.rounds} x {arguments.steps} steps."
    )
    if difference is not None:
        head += (
            " Reference log-probs of candidates that timed the same batch differ by "
            f"{difference:.1e} of the largest."
        )
    return f"{head}\n\n{table(made, results, useful, dtype)}"


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=tuple(MODELS), default="tiny")
    parser.add_argument("--device", choices=tuple(LONGEST_ROW), default="cpu")
    parser.add_argument("--candidates", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--rounds", type=int, default=2, help="turns of each candidate")
    parser.add_argument("--steps", type=int, help="timed steps a turn (default 1, tiny and GPU 2)")
    parser.add_argument(
        "--warmup", type=int, help="untimed first steps (default 0, tiny and GPU 1; TRL at least 1)"
    )
    parser.add_argument("--examples", type=int, default=8, help="examples of our batch")
    parser.add_argument("--pairs", type=int, default=8, help="pairs of the others' batches")
    parser.add_argument("--pool", type=int, default=POOL, help="examples to make batches of")
    parser.add_argument(
        "--remat",
        action=argparse.BooleanOptionalAction,
        help="recompute layers in the backward pass, TRL's too (default on GPU only)",
    )
    parser.add_argument("--lora-rank", type=int, help="train LoRA; whole models by default")
    parser.add_argument("--out", help="write the table here too")
    parser.add_argument("--sweep", action="store_true", help="our step by size, with plots")
    parser.add_argument("--figures", default=FIGURES, help="folder of the sweep's plots")
    arguments = parser.parse_args(argv)
    brief = arguments.device == "cpu" and arguments.model != "tiny"
    arguments.steps = (1 if brief else 2) if arguments.steps is None else arguments.steps
    arguments.warmup = (0 if brief else 1) if arguments.warmup is None else arguments.warmup
    if arguments.remat is None:
        arguments.remat = arguments.device == "gpu"
    if min(arguments.rounds, arguments.steps, arguments.examples) < 1 or arguments.warmup < 0:
        parser.error("--rounds, --steps and --examples must be at least 1, --warmup at least 0")
    if arguments.pairs < REJECTS or arguments.pairs % REJECTS:
        parser.error(f"--pairs must be a multiple of {REJECTS}, found {arguments.pairs}")
    of_the_table = ("candidates", "examples", "pairs", "pool", "lora_rank")
    if arguments.sweep and any(
        getattr(arguments, name) != parser.get_default(name) for name in of_the_table
    ):
        parser.error(
            "--sweep trains whole models on batches of its own: no --candidates, --examples, "
            "--pairs, --pool, --lora-rank"
        )
    if arguments.pool < max(arguments.examples, arguments.pairs):
        parser.error(f"--pool must hold a batch, found {arguments.pool}")
    return arguments


if __name__ == "__main__":
    main()
