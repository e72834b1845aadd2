"""Bounds of numeric fields, written beside their types and checked in `__post_init__`.

learning_rate: NonNegative = 5e-7
b2: Annotated[float, Bounds("[0, 1)")] = 0.999

def __post_init__(self) -> None:
    check_bounds(self, "optimizer.")
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from typing import Annotated

from dignified_jax.typed_config.errors import ConfigError, shown

_LARGEST_COUNT = 2**31 - 1  # steps are counted in int32 on the devices


@dataclasses.dataclass(frozen=True)
class Bounds:
    """An interval of numbers, in mathematical notation.

    Attributes:
      interval: such as "[0, 1)"; a round bracket excludes its end, so that "[0, inf)" is every
        finite number from 0 on and "(0, inf]" has infinity too. NaN is in none.
    """

    interval: str

    @property
    def ends(self) -> tuple[float, float]:
        """The lower and the upper end."""
        low, high = re.fullmatch(r"[\[(](.+), (.+)[\])]", self.interval).groups()
        return float(low), float(high)

    def problem(self, value: float) -> str:
        """Returns what a number must be and is not, such as "at least 1"; "" if it is."""
        low, high = self.ends
        if value != value:  # an int of any size has no isnan
            return "a number"
        if value < low or (value == low and self.interval[0] == "("):
            return self.lower
        if value > high or (value == high and self.interval[-1] == ")"):
            return self.upper
        return ""

    def check(self, value: float, key: str) -> None:
        """Raises ConfigError, which names the field `key`, unless the number is inside."""
        if problem := self.problem(value):
            raise ConfigError(f"{key} must be {problem}, found {shown(value)}", key)

    @property
    def lower(self) -> str:
        """The lower bound in words."""
        low = self.ends[0]
        if self.interval[0] == "[":
            return f"at least {_plain(low)}"
        return "positive" if low == 0 else f"above {_plain(low)}"

    @property
    def upper(self) -> str:
        """The upper bound in words."""
        high = self.ends[1]
        if high == math.inf:
            return "finite"
        return f"{'at most' if self.interval[-1] == ']' else 'below'} {_plain(high)}"

    def __str__(self) -> str:
        """The bounds for `--help`: one that is only there to keep numbers sane is left out."""
        if self.ends[1] in (math.inf, _LARGEST_COUNT):
            return self.lower
        if self.interval[0] + self.interval[-1] == "[]":
            return " to ".join(map(_plain, self.ends))
        return f"{self.lower}, {self.upper}"


Count = Annotated[int, Bounds(f"[1, {_LARGEST_COUNT}]")]
"""How many, or how often: at least 1."""
Seed = Annotated[int, Bounds(f"[0, {2**32 - 1}]")]
"""What random generators are seeded with: 32 bits."""
Positive = Annotated[float, Bounds("(0, inf)")]
"""Above 0, and finite."""
NonNegative = Annotated[float, Bounds("[0, inf)")]
"""At least 0, and finite."""


def check_bounds(instance: object, prefix: str) -> None:
    """Checks every field of a dataclass whose type has `Bounds`; of a tuple every entry.

    Args:
      instance: of the dataclass.
      prefix: of the fields' names in messages, such as "optimizer.".

    Raises:
      ConfigError: names the field, its bound and what was found.
    """
    hints = typing.get_type_hints(type(instance), include_extras=True)
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        bounds = find_bounds(hints[field.name])
        if bounds is None or value is None:
            continue
        for number in value if isinstance(value, tuple) else (value,):
            bounds.check(number, prefix + field.name)


def find_bounds(hint: object) -> Bounds | None:
    """Returns the bounds in a type: its own, those of an optional one, or of a tuple's entries."""
    if typing.get_origin(hint) is Annotated:
        notes = [note for note in hint.__metadata__ if isinstance(note, Bounds)]
        return notes[0] if notes else None
    if typing.get_origin(hint) in (typing.Union, types.UnionType, tuple):
        return next(filter(None, map(find_bounds, typing.get_args(hint))), None)
    return None


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)
