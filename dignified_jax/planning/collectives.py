"""Collectives of a step: what devices send each other, read from the compiled program.

XLA decides which collectives a step has; they are counted in its text, each as often as the loops
around it run. The time that they take, and how much of it is hidden, is not in there.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.\-]+ = (.+?) ([\w\-]+)\((.*)$")
_CALLED = re.compile(
    r"(?:calls|to_apply|condition|body|true_computation|false_computation|branch_computations|"
    r"called_computations)=(?:%?([\w.\-]+)|\{([^}]*)\})"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_SHAPE = re.compile(r"\b(pred|[a-z]+\d+\w*)\[([\d,]*)\]")
_LISTED = re.compile(r"replica_groups=\{((?:\{[\d,]*\},?)*)\}")
_IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_CHANNEL = re.compile(r"\bchannel_id=(\d+)")
_PAIRS = re.compile(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One kind of collective over the same axes, with arrays of the same size.

    Attributes:
      kind: of `KINDS`.
      axes: of the mesh, that the devices which take part differ in.
      devices: of each group that takes part.
      dtype: XLA's name of it; of several arrays at once, that of the largest.
      array_bytes: of the whole array, before a reduce-scatter or after an all-gather.
      count: how often it is done in a step.
    """

    kind: str
    axes: tuple[str, ...]
    devices: int
    dtype: str
    array_bytes: int
    count: int

    @property
    def received_bytes(self) -> float:
        """Bytes that each device receives in a step, by a ring or what sends as little.

        With n devices, (n - 1)/n of the array; twice that of an all-reduce.
        """
        if self.kind == "collective-permute":
            return float(self.count * self.array_bytes)
        share = (self.devices - 1) / self.devices
        return self.count * self.array_bytes * share * (2 if self.kind == "all-reduce" else 1)


def collectives(program: str, mesh: Mapping[str, int]) -> list[Collective]:
    """Returns a program's collectives, those with the most received bytes first.

    Args:
      program: text of a compiled program, `jax.stages.Compiled.as_text()`.
      mesh: sizes of the axes in the order of the devices, `mesh.shape`.

    Raises:
      ValueError: groups of other devices than the mesh has.
    """
    computations, entry = _computations(program)
    # Of a collective that runs beside something else, the TPU compiler has a copy of the
    # instruction in the fusion that starts it, in those that it runs beside, and in the last one.
    fused = {
        name
        for instructions in computations.values()
        for _, operation, rest in instructions
        if operation == "fusion"
        for name in _called(rest)
    }
    times: dict[tuple, int] = {}
    for name, runs in _runs(computations, entry).items():
        for place, (result, operation, rest) in enumerate(computations[name]):
            kind = operation.removesuffix("-start")
            if kind in KINDS:
                axes, devices = _axes(rest, mesh)
                dtype, size = _array(kind, result, devices, operation.endswith("-start"))
                channel = _CHANNEL.search(rest) if name in fused else None
                which = channel[1] if channel else (name, place)
                key = which, (kind, axes, devices, dtype, size)
                times[key] = max(times.get(key, 0), runs)
    found: Counter[tuple[str, tuple[str, ...], int, str, int]] = Counter()
    for (_, key), runs in times.items():
        found[key] += runs
    made = [Collective(*key, count) for key, count in found.items() if key[2] > 1]
    return sorted(made, key=lambda one: (-one.received_bytes, one.kind, one.axes))


def table(found: list[Collective]) -> str:
    """Returns a table in Markdown, a line a collective."""
    lines = [
        "| collective | over | devices | array | MB | a step | MB received |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        sizes = f"{one.array_bytes / 1e6:.3f} | {one.count} | {one.received_bytes / 1e6:.3f}"
        over = " x ".join(one.axes) or "-"
        lines.append(f"| {one.kind} | {over} | {one.devices} | {one.dtype} | {sizes} |")
    return "\n".join(lines)


_Instruction = tuple[str, str, str]


def _computations(program: str) -> tuple[dict[str, list[_Instruction]], str]:
    """Instructions of every computation, as (result, operation, the rest), and the entry's name."""
    computations: dict[str, list[_Instruction]] = {}
    name, entry = "", ""
    for line in program.splitlines():
        begun = _COMPUTATION.match(line)
        if begun:
            name = begun[2]
            computations[name] = []
            entry = name if begun[1] else entry
        elif name and (found := _INSTRUCTION.match(line)):
            computations[name].append((found[1], found[2], found[3]))
    return computations, entry


def _runs(computations: dict[str, list[_Instruction]], entry: str) -> Counter[str]:
    """How often every computation that is reached runs; a loop of unknown length counts once."""
    runs: Counter[str] = Counter()

    def visit(name: str, times: int) -> None:
        runs[name] += times
        for _, operation, rest in computations.get(name, ()):
            trips = _trips(computations, rest) if operation == "while" else 1
            for called in _called(rest):
                visit(called, times * trips)

    visit(entry, 1)
    return Counter({name: times for name, times in runs.items() if name in computations})


def _trips(computations: dict[str, list[_Instruction]], loop: str) -> int:
    """How often a loop runs, as XLA says it, else by the bound that its counter stays below.

    Counters of `jax.lax.scan` begin with 0.
    """
    if known := _TRIPS.search(loop):
        return int(known[1])
    condition = re.search(r"condition=%?([\w.\-]+)", loop)
    bounds = [
        int(rest.partition(")")[0])
        for result, operation, rest in computations.get(condition[1] if condition else "", ())
        if operation == "constant" and result.startswith("s32[]")
    ]
    return bounds[0] if len(bounds) == 1 else 1


def _called(rest: str) -> Iterator[str]:
    for match in _CALLED.finditer(rest):
        yield from (name.strip().lstrip("%") for name in (match[1] or match[2]).split(","))


def _array(kind: str, result: str, devices: int, started: bool) -> tuple[str, int]:
    """dtype and bytes of the whole array of a collective."""
    arrays = [(dtype, _bytes(dtype, sizes)) for dtype, sizes in _SHAPE.findall(result)]
    if started and kind in ("all-gather", "collective-permute"):
        # Operand and result, and maybe contexts of a few bytes.
        arrays = [max(arrays, key=lambda each: each[1])]
    dtype = max(arrays, key=lambda each: each[1])[0]
    total = sum(size for _, size in arrays)
    return dtype, total * devices if kind == "reduce-scatter" else total


def _bytes(dtype: str, sizes: str) -> int:
    count = math.prod(int(size) for size in sizes.split(",") if size)
    if dtype == "pred":
        return count
    bits = re.search(r"\d+", dtype)
    return -(-count * int(bits[0]) // 8)


def _axes(rest: str, mesh: Mapping[str, int]) -> tuple[tuple[str, ...], int]:
    """Axes in which the devices of a group differ, and their number."""
    shape = tuple(mesh.values())
    groups = _groups(rest, math.prod(shape))
    if max(max(group) for group in groups) >= math.prod(shape):
        raise ValueError(f"expected devices of a mesh of {math.prod(shape)}, found {groups[:4]}")
    places = np.stack(np.unravel_index(groups[0], shape))
    differ = (places != places[:, :1]).any(axis=1)
    axes = tuple(name for name, is_one in zip(mesh, differ, strict=True) if is_one)
    return axes, len(groups[0])


def _groups(rest: str, count: int) -> list[list[int]]:
    if pairs := _PAIRS.search(rest):
        found = re.findall(r"\{(\d+),(\d+)\}", pairs[1])
        return [[int(a), int(b)] for a, b in found if a != b] or [[0]]
    if iota := _IOTA.search(rest):
        groups, source, order = (
            [int(n) for n in (part or "").split(",") if n] for part in iota.groups()
        )
        devices = np.arange(math.prod(source)).reshape(source)
        if order:
            devices = devices.transpose(order)
        return devices.reshape(groups).tolist()
    listed = _LISTED.search(rest)
    found = re.findall(r"\{([\d,]+)\}", listed[1]) if listed else []
    return [[int(n) for n in group.split(",")] for group in found] or [list(range(count))]
