"""The error of a configuration, and the nearest names to a misspelt one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class ConfigError(ValueError):
    """A configuration field is unknown, of the wrong type, or contradicts another.

    Attributes:
      key: dotted name of the field, for whoever knows where it was written; by default the word
        that the message begins with.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key or re.match(r"[\w.]*", message)[0]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns "; did you mean A or B?" of the known names nearest to a misspelt one, or "".

    Dotted names are near if their last parts are: a field may be sought for in the wrong section. A
    last part is near another that it is spelt like, or a word of which it is: "rate" is near
    "learning_rate".
    """
    by_last: dict[str, list[str]] = {}
    for other in known:
        by_last.setdefault(_last(other), []).append(other)
    last = _last(name)
    alike = difflib.get_close_matches(last, by_last, n=3, cutoff=0.7)
    words = [other for other in by_last if last in other.split("_")]
    near = [other for match in [*alike, *words] for other in by_last[match]]
    section = name.rpartition(".")[0]
    # The very name in another section comes first, then names in the same section.
    near.sort(key=lambda other: (_last(other) != last, other.rpartition(".")[0] != section))
    first = list(dict.fromkeys(near))[:3]
    return f"; did you mean {' or '.join(first)}?" if first else ""


def _last(name: str) -> str:
    return name.rpartition(".")[2].lower()


def shown(value: object) -> str:
    """Returns a value for a message, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # integers of thousands of digits are not printed
        text = "a number of thousands of digits"
    return text if len(text) <= 200 else text[:197] + "..."
