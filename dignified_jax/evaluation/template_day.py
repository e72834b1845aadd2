"""The day that chat templates which print the date are told, for as long as a directory is used.

Responses and judgments of another day would be those to other prompts; no key of a ledger tells
them apart.
"""

from __future__ import annotations

import datetime
import pathlib

from dignified_jax.console.labels import clip
from dignified_jax.files import atomic

FILE = "template_date.txt"


def kept(directory: str | pathlib.Path) -> datetime.date:
    """Returns the day of a directory, which a file in it keeps: that of the first call.

    Args:
      directory: of the responses and judgments; made if need be. One process at a time calls this.

    Raises:
      ValueError: the file holds no date; names it.
      OSError: it can't be read or written; names it.
    """
    file = pathlib.Path(directory) / FILE
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(file, f"{datetime.date.today()}\n")
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"{file}: expected a date such as 2026-11-29, found {clip(text)!r}"
        ) from error
