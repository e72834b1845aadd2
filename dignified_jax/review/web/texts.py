"""Texts of strangers on a page: escaped, verbatim, nothing hidden; and what changed in them."""

from __future__ import annotations

import difflib
import re

from markupsafe import Markup, escape

# Control characters save tab and line ends, and those that turn the direction of other text.
_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
MOST_COMPARED = 20_000


def visible(text: str) -> Markup:
    """Returns a text as HTML: escaped, characters that act or hide shown by their names."""
    return Markup(_HIDDEN.sub(_named, str(escape(text))))


def _named(match: re.Match[str]) -> str:
    return f'<span class="hidden-character">U+{ord(match[0]):04X}</span>'


def changes(before: str, after: str) -> Markup | None:
    """Returns what changed between two texts, by words, as HTML; None for texts too long for it."""
    if len(before) + len(after) > MOST_COMPARED:
        return None
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    parts = []
    # Frequent words are no anchors: without that, texts of one word would take minutes.
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new).get_opcodes():
        gone, come = visible("".join(old[a:b])), visible("".join(new[c:d]))
        if kind == "equal":
            parts.append(come)
            continue
        if gone:
            parts.append(Markup("<del>{}</del>").format(gone))
        if come:
            parts.append(Markup("<ins>{}</ins>").format(come))
    return Markup("").join(parts)


def when(at: str) -> str:
    """Returns a moment in minutes, for people."""
    return f"{at[:10]} {at[11:16]} UTC"


FILTERS = {"visible": visible, "when": when}
