"""Names from data as text for people: nothing that acts on a terminal, and no longer than fits."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

# Control, format (bidirectional overrides, zero width), surrogate, private, unassigned characters
# and line separators: a terminal obeys them, or shows nothing.
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
GAP = "…"
# Letters before the place where two names part.
LEAD = 3


def printable(text: str) -> str:
    """The text with escapes, as in a Python string, for what would act instead of being shown."""
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode("ascii") if unicodedata.category(c) in HIDDEN else c
        for c in text
    )


def printable_lines(text: str) -> str:
    """Returns the text as `printable`, its lines kept."""
    return "\n".join(map(printable, text.split("\n")))


def width(text: str) -> int:
    """Columns that a terminal gives to a printable text: East Asian characters take two."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def shorten(texts: Sequence[str], most: int) -> list[str]:
    """Texts of at most `most` letters; those that differ still do.

    Of a long text the middle is left out, or, where others begin alike and differ in it, what it
    has in common with them. Texts that cannot be told apart so are numbered.
    """
    found = {text: _without_middle(text, most) for text in texts}
    tail = most // 2
    head = most - tail - 1
    for group in _alike({text: text[:head] for text in found if len(text) > most}):
        if len({text[head:-tail] for text in group}) > 1:
            start = _shared(group)
            cut = {text: _around(text, start, most) for text in group}
            if len(set(cut.values())) >= len({found[text] for text in group}):
                found |= cut
    for group in _alike(found):
        for number, text in enumerate(group, start=1):
            mark = f"~{number}"
            found[text] = found[text][: most - len(mark)] + mark
    return [found[text] for text in texts]


def clip(label: object, most: int = 60) -> str:
    """A label for a sentence: printable, its middle left out where it is long."""
    return _without_middle(printable(str(label)), most)


def _alike(found: dict[str, str]) -> list[list[str]]:
    """Groups of different texts that are shown alike, in order of first appearance."""
    groups = defaultdict(list)
    for text, shown in found.items():
        groups[shown].append(text)
    return [group for group in groups.values() if len(group) > 1]


def _shared(group: Sequence[str]) -> int:
    """Number of letters that all of the texts begin with."""
    first, last = min(group), max(group)
    pairs = enumerate(zip(first, last, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(last)))


def _without_middle(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    tail = most // 2
    return f"{text[: most - tail - 1]}{GAP}{text[-tail:]}"


def _around(text: str, start: int, most: int) -> str:
    """A text's beginning, and what follows from just before `start`."""
    head = most // 3
    start = max(start - LEAD, head)
    rest = most - head - 1
    shown = text[start : start + rest]
    if start + rest < len(text):
        shown = shown[:-1] + GAP
    return f"{text[:head]}{GAP}{shown}"
