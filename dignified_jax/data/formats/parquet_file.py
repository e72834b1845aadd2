"""Preference rows written as Parquet, whose columns have one type each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dignified_jax.data.formats.rejects import PROVENANCE_COLUMNS
from dignified_jax.data.schema.conversation import USER, Message
from dignified_jax.files import atomic

_PROMPT = "prompt"


def write(file: str | Path, records: Sequence[Mapping[str, object]]) -> None:
    """Writes rows as Parquet, whole or not at all.

    Objects, and whatever says how a row was made or reviewed, are JSON text, which a text stays. A
    text among prompts of several turns is a conversation of one turn.

    Args:
      file: what lies there is replaced.
      records: at least one, column -> cell as JSON lines have it; a column may be missing in some.

    Raises:
      OSError: it can't be written.
    """
    import pyarrow
    import pyarrow.parquet

    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {name: [record.get(name) for record in records] for name in names}
    for name, cells in columns.items():
        if name in PROVENANCE_COLUMNS or any(isinstance(cell, Mapping) for cell in cells):
            columns[name] = [_json_text(cell) for cell in cells]
    if not all(isinstance(cell, str) for cell in columns[_PROMPT]):
        columns[_PROMPT] = [
            [Message(USER, cell)._asdict()] if isinstance(cell, str) else cell
            for cell in columns[_PROMPT]
        ]
    with atomic.replacing(file) as partial:
        pyarrow.parquet.write_table(pyarrow.table(columns), partial)


def _json_text(cell: object) -> str | None:
    return cell if cell is None or isinstance(cell, str) else json.dumps(cell)
