"""The lines that a person reads while a run goes on; none is wider than 79 columns.

All are plain ASCII text, made of flat metrics as `metrics.flatten` names them. A dimension that a
batch does not have shows a dash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from dignified_jax.data import DIMENSIONS

WIDTH = 79
COMPILING = "compiling, then the first step"
# Name -> (key without the dimension, characters of a number).
_Sections = Mapping[str, tuple[str, int]]
_TRAINING: _Sections = {"loss": ("loss", 5), "lambda": ("lambda", 4)}
_EVALUATION: _Sections = {"loss": ("loss", 5), "acc": ("rewards/accuracies", 4)}


def status(
    flat: Mapping[str, float],
    step: int,
    total: int,
    *,
    elapsed: float,
    left: float | None,
    width: int = WIDTH,
) -> str:
    """Two lines: how far the run is, and each dimension's loss and lambda.

    Args:
      flat: the last step's metrics; empty before the first.
      step, total: optimiser steps done, and of the whole run.
      elapsed: seconds since the start.
      left: seconds to the end, or None while nobody knows.
      width: of the first line, whose bar takes what is left of it.
    """
    tail = [f"{step / total:.0%}", f"{duration(elapsed)} elapsed"]
    if left is not None:
        tail.append(f"{duration(left)} left")
    if "tokens_per_second" in flat:
        tail.append(f"{compact(flat['tokens_per_second'])} tok/s")
    head, end = f"{step}/{total} [", "] " + "  ".join(tail)
    room = max(width - len(head) - len(end), 1)
    done = room * step // total
    bar = head + "#" * done + "-" * (room - done) + end
    return bar[:width] + "\n" + (_named(flat, _TRAINING) if flat else COMPILING)


def evaluation(flat: Mapping[str, float], step: int) -> str:
    """Held-out loss after `step`, and accuracy where the method has rewards."""
    own = {key.removeprefix("eval/"): flat[key] for key in flat if key.startswith("eval/")}
    return f"eval {step} {_named(own, _EVALUATION)}"


def table_header(flat: Mapping[str, float]) -> str:
    """The columns of `table_line`."""
    cells = [f"{'step':>11}"]
    for name, (_, width) in _present(flat, _TRAINING).items():
        first, *others = DIMENSIONS
        cells += [f"{name + ' ' + first:>{width + len(name) - 1}}"]
        cells += [f"{dimension:>{width + 1}}" for dimension in others]
    return "".join([*cells, f"{'tok/s':>8}", f"{'left':>8}"])


def table_line(flat: Mapping[str, float], total: int, left: float | None) -> str:
    """One training step under `table_header`."""
    cells = [f"{flat['step']}/{total}".rjust(11)]
    for name, (key, width) in _present(flat, _TRAINING).items():
        first, *others = (_number(value, width) for value in _values(flat, key))
        cells += [first.rjust(width + len(name) - 1)]
        cells += [text.rjust(width + 1) for text in others]
    speed = flat.get("tokens_per_second")
    cells += [("-" if speed is None else compact(speed)).rjust(8)]
    return "".join([*cells, ("-" if left is None else duration(left)).rjust(8)])


def duration(seconds: float) -> str:
    """At most seven characters: 1:05, 1:00:05, 12h 05m, 4d 04h."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 100:
        return f"{hours // 24}d {hours % 24:02d}h"
    if hours >= 10:
        return f"{hours}h {minutes:02d}m"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def compact(value: float) -> str:
    """At most six characters: 312, 6.7k, 1.2M."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.1f}{unit}"
    return f"{value:.0f}"


def _named(flat: Mapping[str, float], sections: _Sections) -> str:
    """Sections of one number a dimension: "loss A 0.673 T 0.404 E - ... lambda A 0.14 ..."."""
    texts = []
    for name, (key, width) in _present(flat, sections).items():
        numbers = (_number(value, width).rjust(width) for value in _values(flat, key))
        texts.append(" ".join([name, *map(" ".join, zip(DIMENSIONS, numbers, strict=True))]))
    return " ".join(texts)


def _present(flat: Mapping[str, float], sections: _Sections) -> _Sections:
    """The losses, and those others of which some dimension has a value."""
    return {
        name: (key, width)
        for name, (key, width) in sections.items()
        if name == "loss" or any(value is not None for value in _values(flat, key))
    }


def _values(flat: Mapping[str, float], key: str) -> list[float | None]:
    return [flat.get(f"{key}/{dimension}") for dimension in DIMENSIONS]


def _number(value: float | None, width: int) -> str:
    """As many decimals as `width` characters (at least 4) hold; ### if not even the integer."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    texts = (f"{value:.{decimals}f}" for decimals in range(width - 2, -1, -1))
    return next((text for text in texts if len(text) <= width), "#" * width)
