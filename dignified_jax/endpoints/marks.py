"""Material between marks that it can't close itself.

What a stranger or a model wrote may hold anything, also orders to whoever reads it, and forged
marks. It stands between marks with an id that it can't contain, and whatever in it looks like one
of the marks loses its bracket. This tells a reader where the material ends; whether the reader
then heeds what is in it is the reader's own strength.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping


def marked(parts: Mapping[str, str], mark: str) -> str:
    """Returns the parts, each between marks of its name.

    Args:
      parts: name -> text.
      mark: id of the marks, such as a hash of the texts.
    """
    return "\n\n".join(
        f'<{name} id="{mark}">\n{escape(text, parts)}\n</{name} id="{mark}">'
        for name, text in parts.items()
    )


def escape(text: str, names: Iterable[str]) -> str:
    """Returns the text without anything that looks like a mark of one of the names."""
    words = "|".join(map(re.escape, names))
    return re.sub(rf"<(?=\s*/?\s*(?:{words})\b)", "&lt;", text, flags=re.IGNORECASE)
