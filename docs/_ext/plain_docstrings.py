"""Docstrings are written to be read in a terminal; this makes reStructuredText of them.

Outside the sections that napoleon knows ("Args:", "Attributes:", ...), an indented paragraph is
an equation or an example and is shown as it stands. What reStructuredText would take for markup
(``*``, ``|``, a name that ends in an underscore) is taken for text.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

SECTION_HEADINGS = ("Args:", "Attributes:", "Example:", "Returns:", "Raises:", "Yields:")
_CODE = re.compile(r"(``.+?``|`.+?`)", re.DOTALL)
_MARKUP = re.compile(r"[*|]|(?<=\w)_(?!\w)|\\")


def escape(text: str) -> str:
    """The text with everything outside backticks taken literally."""
    parts = _CODE.split(text)
    parts[::2] = [_MARKUP.sub(lambda found: "\\" + found[0], part) for part in parts[::2]]
    # Markup ends at a word's end; "\\ " parts an ending such as a plural's s from it, unseen.
    return re.sub(r"(?<=`)\0(?=\w)", r"\\ ", "\0".join(parts)).replace("\0", "")


def to_rest(lines: list[str]) -> list[str]:
    """reStructuredText, as napoleon takes it, of a docstring's lines."""
    result: list[str] = []
    in_section = literal = False
    for paragraph in _apart(lines).split("\n\n"):
        first = paragraph.split("\n", 1)[0]
        if not first.startswith(" "):
            literal = False
            in_section = first.rstrip() in SECTION_HEADINGS
        elif not in_section and not literal:
            literal = True
            result += ["::", ""]
        result += [*(paragraph if literal else escape(paragraph)).split("\n"), ""]
    return result


def _apart(lines: list[str]) -> str:
    """The lines, with empty ones around whatever is indented under a line that is no heading."""
    result: list[str] = []
    for line in lines:
        before = result[-1].rstrip() if result else ""
        both = line.strip() and before and before not in SECTION_HEADINGS
        if both and line.startswith(" ") != before.startswith(" "):
            result.append("")
        result.append(line)
    return "\n".join(result)


def _process(app, what, name, obj, options, lines) -> None:
    del app, what, name, obj, options
    lines[:] = to_rest(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process, priority=400)  # before napoleon's 500
    return {"parallel_read_safe": True}
