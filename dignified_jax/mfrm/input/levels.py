"""Labels to levels, and which labels are likely to mean the same level."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from dignified_jax.mfrm.input.scores import NOTHING, shown

SHOWN_GROUPS, SHOWN_LABELS = 5, 4
# Letters of other scripts that are drawn as Latin ones.
CYRILLIC, GREEK = (
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455",
    "\u03bf\u03b1\u03bd",
)
TWINS = str.maketrans(f"{CYRILLIC}{GREEK}_", "aeopcyxijsoav-")
WHOLE = re.compile(r"\+?(\d+)\.0*", re.ASCII)
ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def as_levels(
    values: Sequence[object], missing: np.ndarray
) -> tuple[tuple[object, ...], np.ndarray]:
    """Distinct labels, sorted, and each row's position among them; 0 where missing.

    Whole floats become integers: other software turns integers into floats beside a missing value.
    """
    values = list(map(as_label, values))
    present = {value for value, gone in zip(values, missing.tolist(), strict=True) if not gone}
    try:
        ordered = sorted(present)
    except TypeError:  # labels of several types
        ordered = sorted(present, key=lambda value: (type(value).__name__, str(value)))
    position = {label: index for index, label in enumerate(ordered)}
    codes = np.fromiter((position.get(value, 0) for value in values), np.int64, len(values))
    return tuple(ordered), codes


def as_label(value: object) -> object:
    """A label as a level has it: a whole float as the integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def refuse_lists(name: str, values: Sequence[object], rows: Sequence[int]) -> None:
    """Raises ValueError for labels that are no names, lists, mappings, arrays; `rows`: numbers."""
    for row, value in zip(rows, values, strict=True):
        if value is not None and not isinstance(value, str) and not _hashable(value):
            raise ValueError(
                f"{name} must hold labels: row {row} is a {type(value).__name__}, {shown(value)}"
            )


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def doubts(facet: str, labels: Sequence[object]) -> list[str]:
    """Sentences on labels that look alike, or like no label at all."""
    groups = defaultdict(list)
    for label in labels:
        groups[_likeness(label)].append(label)
    alike = [group for group in groups.values() if len(group) > 1]
    found = []
    if alike:
        listed = "; ".join(
            " and ".join(map(shown, group[:SHOWN_LABELS]))
            + (f" and {len(group) - SHOWN_LABELS} more" if len(group) > SHOWN_LABELS else "")
            for group in alike[:SHOWN_GROUPS]
        )
        more = f"; ... ({len(alike)} groups)" if len(alike) > SHOWN_GROUPS else ""
        found.append(
            f"{facet} labels that look alike are levels of their own: {listed}{more}. Spell them "
            "alike if they are the same"
        )
    found += [
        f"{facet} {shown(label)} is a level of its own: name it as missing if it stands for none"
        for label in labels
        if isinstance(label, str) and label.strip().lower() in NOTHING
    ]
    return found


def _likeness(label: object) -> str:
    """The same for labels that differ in case, spaces, hidden characters, width, dashes, letters
    of another script, or zeros of a number only."""
    text = unicodedata.normalize("NFKC", str(label)).casefold().translate(TWINS)
    kinds = [(c, unicodedata.category(c)) for c in text if not c.isspace()]
    text = "".join("-" if kind == "Pd" else c for c, kind in kinds if kind not in ("Cc", "Cf"))
    return ZEROS.sub("", WHOLE.sub(r"\1", text) if WHOLE.fullmatch(text) else text.lstrip("+"))
