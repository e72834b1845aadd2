"""Rows that the first of several processes reads and all of them tokenise.

The first process reads and checks rows, deals them out, and keeps the token ids of all in order:
they are those of a single process, and no process holds more than some rows' at a time.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from dignified_jax import data
from dignified_jax.cluster import dealing, members
from dignified_jax.console.waiting import ShowCount, Waiting
from dignified_jax.data.examples import ExampleTable
from dignified_jax.data.schema import RowProblem
from dignified_jax.data.schema.conversation import Message
from dignified_jax.data.store import workers
from dignified_jax.data.tokenize import Chunk, EncodedRows, Encoder
from dignified_jax.training.inputs import tokens

_READING = "reading rows"
_ROW_FIELDS = ("golden", "rejects", "file", "row", "pairs")
_PART_FIELDS = ("truncated", "dropped", "lossy", "too_long")
_TABLE = {"ids": np.int32, "lengths": np.int32, "indices": np.int64}


def begin() -> bool:
    """Says that there are others, to whom rows are dealt; all of them call it."""
    member = members.current()
    if member is None:
        return False
    members.again(*(("waiting for rows", "idle") if member.index else (_READING, "job")))
    return True


def moving(show: Waiting) -> Waiting:
    """Returns what shows the same, and tells the others that this process goes on."""

    @contextlib.contextmanager
    def shown(what: str, **options: Any) -> Iterator[ShowCount]:
        with show(what, **options) as count:

            def counted(done: int, total: int) -> None:
                members.again(_READING, "job")
                count(done, total)

            yield counted

    return shown


def serve(encoders: Mapping[str, Encoder]) -> None:
    """Tokenises rows for the first process until it calls `finish`; in all others.

    Args:
      encoders: by split.
    """

    def work(encoder: Encoder, shared: Mapping[str, Any], items: Iterator[Any]) -> Iterator[Any]:
        chunks = (_read_chunk(item, tuple(shared["dimensions"])) for item in items)
        parts = workers.map_in_order(encoder, chunks, tokens.workers_for(shared["rows"]))
        return map(describe_part, parts)

    dealing.serve({_work(name): functools.partial(work, one) for name, one in encoders.items()})


def finish() -> None:
    """Lets the others leave `serve`; in the first process."""
    dealing.over()


def encode(
    split: str, encoder: Encoder, chunks: Iterable[Chunk], rows: int, dimensions: tuple[str, ...]
) -> Iterator[EncodedRows]:
    """Yields what rows become, in order, while the other processes `serve`; in the first one.

    Args:
      split: of the rows.
      encoder: the split's.
      chunks: the rows.
      rows: how many there are.
      dimensions: of all rows.
    """
    share = -(-rows // members.current().count)
    return dealing.deal(
        _work(split),
        {"rows": share, "dimensions": dimensions},
        chunks,
        ahead=workers.MOST_AHEAD,
        describe=describe_chunk,
        own=lambda own: workers.map_in_order(encoder, own, tokens.workers_for(share)),
        read=read_part,
    )


def _work(split: str) -> str:
    return f"tokenising {split} rows"


def describe_chunk(chunk: Chunk) -> Any:
    """Returns rows as JSON, with all that an `Encoder` reads of them."""
    start, rows = chunk
    fields = ("prompt", *_ROW_FIELDS)
    return [start, [{name: getattr(row, name) for name in fields} for row in rows]]


def _read_chunk(item: Any, dimensions: tuple[str, ...]) -> Chunk:
    start, rows = item
    return start, [_row(dimensions=dimensions, **fields) for fields in rows]


def _row(prompt: str | list[list[str]], **fields: Any) -> data.PreferenceRow:
    turns = prompt if isinstance(prompt, str) else tuple(Message(*turn) for turn in prompt)
    return data.PreferenceRow(turns, **fields)


def describe_part(part: EncodedRows) -> Any:
    """Returns what rows become, as JSON."""
    table = {
        name: base64.b64encode(getattr(part.examples, name).astype(dtype).tobytes()).decode()
        for name, dtype in _TABLE.items()
    }
    return {
        "examples": {**table, "responses": part.examples.lengths.shape[1]},
        "rejected": [
            [index, [dataclasses.asdict(problem) for problem in problems]]
            for index, problems in part.rejected.items()
        ],
        **{name: getattr(part, name) for name in _PART_FIELDS},
    }


def read_part(described: Any) -> EncodedRows:
    """Returns what `describe_part` described."""
    table = described["examples"]
    ids, lengths, indices = (
        np.frombuffer(base64.b64decode(table[name]), dtype) for name, dtype in _TABLE.items()
    )
    return EncodedRows(
        ExampleTable(ids, lengths.reshape(-1, table["responses"]), indices),
        rejected={
            index: [RowProblem(**problem) for problem in problems]
            for index, problems in described["rejected"]
        },
        **{name: tuple(described[name]) for name in _PART_FIELDS},
    )
