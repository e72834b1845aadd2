"""Labels to levels, and which labels are likely to mean the same level."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from dignified_jax.mfrm.input.scores import NOTHING, shown

SHOWN_GROUPS = 5
ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def as_levels(
    values: Sequence[object], missing: np.ndarray
) -> tuple[tuple[object, ...], np.ndarray]:
    """Distinct labels, sorted, and each row's position among them; 0 where missing.

    Whole floats become integers: other software turns integers into floats beside a missing value.
    """
    values = [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
    present = {value for value, gone in zip(values, missing.tolist(), strict=True) if not gone}
    try:
        ordered = sorted(present)
    except TypeError:  # labels of several types
        ordered = sorted(present, key=lambda value: (type(value).__name__, str(value)))
    position = {label: index for index, label in enumerate(ordered)}
    codes = np.fromiter((position.get(value, 0) for value in values), np.int64, len(values))
    return tuple(ordered), codes


def refuse_lists(name: str, values: Sequence[object]) -> None:
    """Raises ValueError for labels that are no names: lists, mappings, arrays."""
    for row, value in enumerate(values, start=1):
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
        listed = "; ".join(" and ".join(map(shown, group[:4])) for group in alike[:SHOWN_GROUPS])
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
    """The same for labels that differ in case, spaces, hidden characters, width or zeros only."""
    text = unicodedata.normalize("NFKC", str(label)).casefold()
    text = "".join(
        c for c in text if unicodedata.category(c) not in ("Cc", "Cf") and not c.isspace()
    )
    return ZEROS.sub("", text)
