"""Labels as they are drawn in figures: short, distinct, in letters that a font has, apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dignified_jax.console.labels import clip, printable, shorten
from dignified_jax.mfrm.result import level_name

MOST_LETTERS = 30
# Numbers that a page explains.
MOST_KEYS = 20
# matplotlib's font whose letters are boxes that name a script.
PLACEHOLDERS = "Last Resort"
# Names at one place, beyond which their number is told.
MOST_AT_ONE_PLACE = 3


def level_names(labels: Sequence[object]) -> list[object]:
    """Labels; "(all)" for the one level of a facet that the ratings do not name."""
    return [level_name(label) for label in labels]


def drawn_names(labels: Sequence[object], facet: str) -> list[str]:
    """Labels short enough to be drawn, with no mathematics in them.

    A label with letters that no installed font has is drawn as its number, counted from 1 in the
    order of the tables.
    """
    texts = [printable(str(label)) for label in level_names(labels)]
    for index in _without_font(texts):
        texts[index] = f"{facet} #{index + 1}"
    return [text.replace("$", r"\$") for text in shorten(texts, MOST_LETTERS)]


def key_of_numbers(labels: Sequence[object], facet: str) -> str:
    """Says which labels are drawn as numbers, as no installed font has their letters; or ""."""
    texts = [clip(label) for label in labels]
    numbered = [f"{facet} #{index + 1} is {texts[index]}" for index in _without_font(texts)]
    more = f" and {len(numbered) - MOST_KEYS} more" if len(numbered) > MOST_KEYS else ""
    listed = ", ".join(numbered[:MOST_KEYS]) + more
    return f"in figures, for want of a font: {listed}" if numbered else ""


def _without_font(texts: Sequence[str]) -> list[int]:
    """Places of the texts with letters that no installed font has."""
    absent = font_families("".join(texts))[1]
    return [index for index, text in enumerate(texts) if absent & set(text)]


def font_families(text: str) -> tuple[list[str], set[str]]:
    """Families to draw a text with, the usual one and what has its other letters; letters that no
    installed font has."""
    from matplotlib import font_manager

    families = ["DejaVu Sans"]
    absent = {c for c in text if ord(c) > 127 and c.isprintable() and not c.isspace()}
    if absent:
        absent -= _letters(font_manager.findfont(families[0]), absent)
    fonts = sorted(font_manager.fontManager.ttflist, key=lambda font: font.name) if absent else []
    fonts = [font for font in fonts if PLACEHOLDERS not in font.name]
    while absent:
        has = {font.name: _letters(font.fname, absent) for font in fonts}
        best = max(has, key=lambda name: len(has[name]), default=None)
        if best is None or not has[best]:
            break
        families.append(best)
        absent -= has[best]
    return families, absent


def _letters(file: str, wanted: set[str]) -> set[str]:
    """Those that a font has."""
    from matplotlib import font_manager

    try:
        present = font_manager.get_font(file).get_charmap()
    except (OSError, RuntimeError):  # a font file that can't be read
        return set()
    return {c for c in wanted if ord(c) in present}


def together(
    places: Sequence[tuple[float, ...]], names: Sequence[str], nearest: float
) -> tuple[list[int], list[str]]:
    """Index of the first of each group of places that look the same, and the group's names.

    Places closer than `nearest` in every coordinate are one.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, place in enumerate(places):
        groups.setdefault(tuple(round(x / nearest) for x in place), []).append(index)
    texts = []
    for group in groups.values():
        shown = ", ".join(names[i] for i in group[:MOST_AT_ONE_PLACE])
        more = len(group) - MOST_AT_ONE_PLACE
        texts.append(f"{shown} and {more} more" if more > 0 else shown)
    return [group[0] for group in groups.values()], texts


def spread_apart(values: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Places at least `gap` apart in the values' order, nearest to them in squares, in range.

    y_i - i gap must not decrease: isotonic regression, by pooling adjacent violators. The gap is
    made smaller where the range has no room for it.
    """
    if values.size == 0:
        return values
    gap = min(gap, (high - low) / values.size)
    order = np.argsort(values, kind="stable")
    offsets = gap * np.arange(values.size)
    pools: list[tuple[float, int]] = []
    for value in values[order] - offsets:
        mean, size = float(value), 1
        while pools and pools[-1][0] > mean:
            before, count = pools.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        pools.append((mean, size))
    level = np.repeat([mean for mean, _ in pools], [size for _, size in pools])
    places = np.empty(values.size)
    places[order] = np.clip(level, low, high - offsets[-1]) + offsets
    return places
