"""Memory, collectives and a roofline of the train step on TPU slices, compiled without one.

    TPU_SKIP_MDS_QUERY=1 JAX_PLATFORMS=cpu python -m benchmarks.scaling
    ... python -m benchmarks.scaling --models llama3-70b --topologies v5p:4x4x4
    ... python -m benchmarks.scaling --models qwen3-4b --topologies v5e:4x4 --collectives
    python -m benchmarks.scaling --paper               # the paper's run, in minutes and dollars

Needs the extra `tpu` (libtpu, tokamax) but no TPU: the real step is compiled from shapes, about a
minute a program. Reference cached, Adam's first moment in bfloat16, fsdp over all chips, one row
of 4,096 tokens a chip. "received" is what the collectives of a step bring to each chip; XLA's TPU
compiler prints a reduce-scatter as an all-reduce, which counts twice: it is an upper bound.

The roofline is the longest of three times, as if each were all that a chip did and the others
were hidden behind it: useful FLOPs at the peak, with layers computed twice; bytes received at half
of the interconnect's published (two-way) bandwidth; weights and optimiser state at the memory's
bandwidth. MFU is then an upper bound, not a forecast. The paper's run assumes an MFU instead.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import sys
import time
from collections.abc import Sequence

import jax
from jax.experimental import topologies

from benchmarks.memory import CONFIG, MODELS, lowered, plan_of
from benchmarks.train_step_examples import make_examples
from benchmarks.train_step_report import Useful
from dignified_jax.planning import collectives
from dignified_jax.planning.plan import Plan, parameters
from dignified_jax.training.run import devices


@dataclasses.dataclass(frozen=True)
class Bandwidth:
    """Bytes a second of a chip: of its memory, and of its interconnect, both ways together."""

    memory: float
    interconnect: float


# cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}: HBM bandwidth and interchip interconnect of a chip.
BANDWIDTHS = {
    "v4": Bandwidth(1228e9, 2400e9 / 8),
    "v5e": Bandwidth(819e9, 1600e9 / 8),
    "v5p": Bandwidth(2765e9, 4800e9 / 8),
    "v6e": Bandwidth(1640e9, 3584e9 / 8),
}
DEFAULT = {
    "qwen3-4b": ("v5p:2x2x1", "v5e:4x4", "v5e:8x8"),
    "llama3-8b": ("v5p:2x2x2", "v5e:4x8"),
    "llama3-70b": ("v5p:4x4x4", "v5p:4x8x8"),
}
# The paper's run, and what it may be run on; dollars an hour of one device, an assumption.
PAPER_ROWS, PAPER_EPOCHS = 1331, 3
MACHINES = (("h100", 1), ("h200", 1), ("a100-80g", 4), ("v5e", 16), ("v5p", 4))
DOLLARS = {"h100": 3.0, "h200": 3.8, "a100-80g": 2.0, "v5e": 1.2, "v5p": 4.2}
ASSUMED_MFU = 0.4
# Of the Adam update, bytes a parameter: weights and two moments read and written, gradients read.
_UPDATE_BYTES = 2 * (4 + 2 + 4) + 4


def step_of(model: str, topology: str) -> tuple[Plan, list, object, float]:
    """(plan, collectives, XLA's memory account, seconds to compile) of one row a chip."""
    on = list(topologies.get_topology_desc(topology, platform="tpu").devices)
    config = dataclasses.replace(
        CONFIG,
        reference="cached",
        optimizer=dataclasses.replace(CONFIG.optimizer, mu_dtype="bfloat16"),
    )
    plan = plan_of(MODELS[model], f"{len(on)}x{topology.partition(':')[0]}", len(on), config)
    began = time.perf_counter()
    program = lowered(plan, on).compile()
    seconds = time.perf_counter() - began
    found = collectives.collectives(program.as_text(), plan.mesh.shape)
    return plan, found, program.memory_analysis(), seconds


def roofline(plan: Plan, received: float, kind: str) -> tuple[float, str, float]:
    """(seconds, what takes them, useful FLOPs of the peak) of a step at best."""
    bandwidth, peak = BANDWIDTHS[kind], plan.device.peak_flops("bfloat16")
    weights = parameters(plan.model)
    # Forward, recomputed and backward pass read whole layers; a device updates its share.
    moved = 3 * 2 * weights + _UPDATE_BYTES * weights / plan.count
    times = {
        "compute": (plan.useful_flops + plan.forward_flops) / plan.count / peak,
        "interconnect": received / (bandwidth.interconnect / 2),
        "memory": moved / bandwidth.memory,
    }
    bound = max(times, key=lambda name: times[name])
    return times[bound], bound, plan.useful_flops / plan.count / peak / times[bound]


def scaling(models: Sequence[str], given: Sequence[str] | None, detailed: bool) -> None:
    """Prints the table, a line a model and topology."""
    jax.config.update("jax_enable_compilation_cache", False)  # it can't read such programs back
    versions = f"jax {jax.__version__}, libtpu {importlib.metadata.version('libtpu')}"
    print(f"{versions}; one row of 4,096 tokens a chip, reference cached, bfloat16 first moment\n")
    print(
        "| | chips | GB a chip, XLA | planner | of | GB received a step | step at best, s | by | "
        "MFU at most | compile, s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for model in models:
        for topology in given or DEFAULT[model]:
            kind = topology.partition(":")[0]
            plan, found, account, seconds = step_of(model, topology)
            received = sum(one.received_bytes for one in found)
            best, bound, mfu = roofline(plan, received, kind)
            cells = (
                f"{model}, {topology}",
                str(plan.count),
                f"{account.peak_memory_in_bytes / 1e9:.1f}",
                f"{plan.parts.total / 1e9:.1f}",
                f"{plan.device.memory / 1e9:.0f}",
                f"{received / 1e9:.1f}",
                f"{best:.2f}",
                bound,
                f"{mfu:.2f}",
                f"{seconds:.0f}",
            )
            print("| " + " | ".join(cells) + " |", flush=True)
            if detailed:
                print(f"\n{collectives.table(found)}\n")


def paper(models: Sequence[str], dollars: dict[str, float]) -> None:
    """Prints minutes and dollars of the paper's run, at an assumed MFU."""
    pool = make_examples(1024, 1000, 0)
    print(
        f"{PAPER_ROWS:,} rows x {PAPER_EPOCHS} epochs of 1 golden and 4 rejects, lengths as in "
        f"benchmarks.train_step; MFU {ASSUMED_MFU}, an assumption, as are the dollars an hour\n"
    )
    print("| | " + " | ".join(f"{count} x {name}" for name, count in MACHINES) + " |")
    print("|---|" + "---|" * len(MACHINES))
    for model in models:
        flops = Useful.of(MODELS[model], pool).flops * PAPER_ROWS * PAPER_EPOCHS
        cells = []
        for name, count in MACHINES:
            speed = ASSUMED_MFU * devices.DEVICES[name].peak_flops("bfloat16") * count
            hours = flops / speed / 3600
            cells.append(f"{60 * hours:.0f} min, ${hours * count * dollars[name]:.2f}")
        print(f"| {model} | " + " | ".join(cells) + " |")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=DEFAULT, default=list(DEFAULT))
    parser.add_argument("--topologies", nargs="+", help="as libtpu names them, such as v5e:4x4")
    parser.add_argument("--collectives", action="store_true", help="list them too")
    parser.add_argument("--paper", action="store_true", help="the paper's run, at an assumed MFU")
    parser.add_argument(
        "--dollars", nargs="+", default=(), metavar="DEVICE=DOLLARS", help="an hour of one device"
    )
    options = parser.parse_args(arguments)
    if unknown := [t for t in options.topologies or () if t.partition(":")[0] not in BANDWIDTHS]:
        parser.error(f"--topologies: expected some of {', '.join(BANDWIDTHS)}, found {unknown[0]}")
    prices = dict(DOLLARS)
    for text in options.dollars:
        name, _, price = text.partition("=")
        if name not in prices:
            parser.error(f"--dollars: expected DEVICE=DOLLARS of {', '.join(prices)}, found {text}")
        prices[name] = float(price)
    if options.paper:
        paper(options.models, prices)
    else:
        scaling(options.models, options.topologies, options.collectives)


if __name__ == "__main__":
    sys.exit(main())
