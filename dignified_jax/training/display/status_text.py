"""The lines that a person reads while a run goes on; none is wider than 79 columns.

All are plain text, made of flat metrics as `metrics.flatten` names them. A dimension that a batch
does not have shows a dash. Where the dimensions are too many or their names too long for a line,
it has the mean, and the dimension of the worst value.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from dignified_jax.data import DIMENSIONS

WIDTH = 79
COMPILING = "compiling, then the first step"
# Characters of a dimension's name in a table that names but the worst one.
_NAME_WIDTH = 14


@dataclasses.dataclass(frozen=True)
class _Section:
    """A number for each dimension.

    Attributes:
      name: before the numbers.
      key: of the metric, without the dimension.
      width: characters of a number.
      worst: picks the value to name where there is no room for all.
    """

    name: str
    key: str
    width: int
    worst: Callable[..., str] = max

    def values(self, flat: Mapping[str, float], dimensions: Sequence[str]) -> list[float | None]:
        return [flat.get(f"{self.key}/{dimension}") for dimension in dimensions]

    def numbers(self, flat: Mapping[str, float], dimensions: Sequence[str]) -> list[str]:
        return [_number(value, self.width) for value in self.values(flat, dimensions)]

    def columns(self, dimensions: Sequence[str]) -> list[int]:
        """Widths in a table, whose first column has the section's name before the dimension's."""
        first, *others = dimensions
        with_name = len(self.name) + max(self.width - 1, len(first) + 2)
        return [with_name, *(1 + max(self.width, len(other)) for other in others)]

    def condensed(
        self, flat: Mapping[str, float], dimensions: Sequence[str]
    ) -> tuple[str, str, str]:
        """(mean over the dimensions that have a value, worst value, whose it is), or dashes."""
        known = {d: flat[f"{self.key}/{d}"] for d in dimensions if f"{self.key}/{d}" in flat}
        if not known:
            return "-", "-", "-"
        worst = self.worst(known, key=lambda dimension: known[dimension])
        mean = sum(known.values()) / len(known)
        return _number(mean, self.width), _number(known[worst], self.width), worst


_TRAINING = (_Section("loss", "loss", 5), _Section("lambda", "lambda", 4))
_EVALUATION = (_Section("loss", "loss", 5), _Section("acc", "rewards/accuracies", 4, min))


def status(
    flat: Mapping[str, float],
    step: int,
    total: int,
    *,
    elapsed: float,
    left: float | None,
    width: int = WIDTH,
    dimensions: Sequence[str] = DIMENSIONS,
) -> str:
    """Returns two lines: how far the run is, and each dimension's loss and lambda.

    Args:
      flat: the last step's metrics; empty before the first.
      step, total: optimiser steps done, and of the whole run.
      elapsed: seconds since the start.
      left: seconds to the end, or None while nobody knows.
      width: of the first line, whose bar takes the rest of it.
      dimensions: of the run.
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
    return bar[:width] + "\n" + (_named("", flat, _TRAINING, dimensions) if flat else COMPILING)


def evaluation(flat: Mapping[str, float], step: int, dimensions: Sequence[str] = DIMENSIONS) -> str:
    """Returns held-out losses after `step`, and accuracies where the method has rewards."""
    own = {key.removeprefix("eval/"): flat[key] for key in flat if key.startswith("eval/")}
    return _named(f"eval {step} ", own, _EVALUATION, dimensions)


def table_header(flat: Mapping[str, float], dimensions: Sequence[str] = DIMENSIONS) -> str:
    """Returns the columns of `table_line`."""
    sections = _present(flat, _TRAINING, dimensions)
    cells = [f"{'step':>11}"]
    if _is_wide(sections, dimensions):
        cells += [f"{'loss':>7}{'worst':>7} {'of':<{_NAME_WIDTH}}"]
        cells += [f"{section.name:>8} {'of':<{_NAME_WIDTH}}" for section in sections[1:]]
    else:
        for section in sections:
            first, *others = dimensions
            heads = [f"{section.name} {first}", *others]
            cells += map(str.rjust, heads, section.columns(dimensions))
    return "".join([*cells, f"{'tok/s':>8}{'left':>8}"])


def table_line(
    flat: Mapping[str, float],
    total: int,
    left: float | None,
    dimensions: Sequence[str] = DIMENSIONS,
) -> str:
    """Returns one training step under `table_header`."""
    sections = _present(flat, _TRAINING, dimensions)
    cells = [f"{flat['step']}/{total}".rjust(11)]
    if _is_wide(sections, dimensions):
        mean = sections[0].condensed(flat, dimensions)[0]
        cells += [mean.rjust(7)]
        for section, width in zip(sections, (7, 8), strict=False):
            _, worst, name = section.condensed(flat, dimensions)
            cells += [f"{worst:>{width}} {_shortened(name, _NAME_WIDTH):<{_NAME_WIDTH}}"]
    else:
        for section in sections:
            numbers = section.numbers(flat, dimensions)
            cells += map(str.rjust, numbers, section.columns(dimensions))
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


def _named(
    head: str,
    flat: Mapping[str, float],
    sections: Sequence[_Section],
    dimensions: Sequence[str],
) -> str:
    """Sections of one number a dimension: "loss A 0.673 T 0.404 E - ... lambda A 0.14 ...".

    Or, beyond `WIDTH`, "loss 0.673 worst NAME 0.812 lambda 0.05 worst NAME 0.14".
    """
    sections = _present(flat, sections, dimensions)
    texts = []
    for section in sections:
        numbers = [text.rjust(section.width) for text in section.numbers(flat, dimensions)]
        pairs = map(" ".join, zip(dimensions, numbers, strict=True))
        texts.append(" ".join([section.name, *pairs]))
    line = head + " ".join(texts)
    if len(line) <= WIDTH:
        return line
    found = [(section, *section.condensed(flat, dimensions)) for section in sections]
    fixed = len(head) + sum(len(s.name) + len(m) + len(w) + 10 for s, m, w, _ in found)
    room = (WIDTH - fixed) // len(found)
    return head + " ".join(
        f"{section.name} {mean} worst {_shortened(name, room)} {worst}"
        for section, mean, worst, name in found
    )


def _is_wide(sections: Sequence[_Section], dimensions: Sequence[str]) -> bool:
    """True if a table with a column for every dimension is too wide."""
    return 11 + sum(sum(s.columns(dimensions)) for s in sections) + 2 * 8 > WIDTH


def _shortened(name: str, room: int) -> str:
    """A name in at most `room` characters, its beginning and its end."""
    if len(name) <= room:
        return name
    tail = (room - 1) // 2
    return name[: room - 1 - tail] + "~" + name[len(name) - tail :]


def _present(
    flat: Mapping[str, float], sections: Sequence[_Section], dimensions: Sequence[str]
) -> list[_Section]:
    """The losses, and those others of which some dimension has a value."""
    return [
        section
        for section in sections
        if section.name == "loss"
        or any(value is not None for value in section.values(flat, dimensions))
    ]


def _number(value: float | None, width: int) -> str:
    """Text of at most `width` (at least 4) characters; ### if not even the integer fits."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    texts = (f"{value:.{decimals}f}" for decimals in range(width - 2, -1, -1))
    return next((text for text in texts if len(text) <= width), "#" * width)
