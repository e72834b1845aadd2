"""The token ids of a split: read from the cache, or made of its rows and kept there."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from dignified_jax import data
from dignified_jax.data.examples import ExampleTable
from dignified_jax.data.schema import RowProblem
from dignified_jax.data.schema.conversation import plain_text
from dignified_jax.data.store import workers
from dignified_jax.data.store.arrays import Arrays
from dignified_jax.data.store.cache import Entry
from dignified_jax.data.store.texts import Texts
from dignified_jax.data.tokenize import (
    ROWS_A_CALL,
    Chunk,
    EncodedRows,
    Encoder,
    chunks_of,
    report_of,
)
from dignified_jax.training.run import fingerprint

# A process takes seconds to start, in which so many rows are encoded here.
_ROWS_A_WORKER = 8_000
# Whose versions token ids may depend on.
_LIBRARIES = ("tokenizers", "transformers", "jinja2", "datasets")
Progress = Callable[[int, int], None]
Encode = Callable[[Iterator[Chunk]], Iterator[EncodedRows]]
"""Takes rows and gives what they become, in order."""


def workers_for(rows: int) -> int:
    """Returns how many processes of this machine tokenise so many rows."""
    return workers.available(rows, _ROWS_A_WORKER)


@dataclasses.dataclass(frozen=True, eq=False)
class SplitTokens:
    """The examples of a split, and what was found about its rows.

    Attributes:
      examples: the examples.
      prompts: of each example.
      files: of each example, that of its row.
      rows: number of rows.
      rows_digest, tokens_digest: fingerprints of rows and examples.
      largest: the largest token id.
      truncated, dropped, lossy: numbers of rows.
      rejected: position of each bad row -> its problems.
    """

    examples: ExampleTable
    prompts: Sequence[str]
    files: Sequence[str]
    rows: int
    rows_digest: str
    tokens_digest: str
    largest: int
    truncated: int
    dropped: int
    lossy: int
    rejected: Mapping[int, Sequence[RowProblem]]


def fill(
    arrays: Arrays,
    rows: Sequence[data.PreferenceRow],
    encode: Encode,
    on_bad_row: str,
    progress: Progress,
    rows_a_call: int = ROWS_A_CALL,
) -> dict[str, Any]:
    """Encodes rows into arrays.

    Args:
      arrays: empty.
      rows: of a split.
      encode: what encodes them.
      on_bad_row: as in `data.encode`.
      progress: told how many rows are done, and how many there are.
      rows_a_call: that `encode` is given at a time.

    Returns:
      What `read` makes a `SplitTokens` of, besides the arrays.

    Raises:
      BadRowsError, ValueError: as `data.encode`.
    """
    rows_digest, tokens_digest = fingerprint.RowsDigest(), fingerprint.ExamplesDigest()
    files: dict[str, int] = {}
    largest, done = 0, 0

    def drawn() -> Iterator[Chunk]:
        for start, chunk in chunks_of(rows, rows_a_call):
            for row in chunk:
                rows_digest.add(row)
            arrays.append(_about(chunk, files))
            yield start, chunk

    def written() -> Iterator[EncodedRows]:
        nonlocal largest, done
        for part in encode(drawn()):
            for example in part.examples:
                tokens_digest.add(example)
            table = part.examples
            largest = max(largest, int(table.ids.max(initial=0)))
            arrays.append({"ids": table.ids, "lengths": table.lengths, "indices": table.indices})
            done = min(done + rows_a_call, len(rows))
            progress(done, len(rows))
            yield part

    report = report_of(written(), on_bad_row)
    return {
        "rows": len(rows),
        "rows_digest": rows_digest.value(),
        "tokens_digest": tokens_digest.value(),
        "largest": largest,
        "truncated": report.truncated,
        "dropped": report.dropped,
        "lossy": len(report.lossy_indices),
        "rejected": {
            index: [dataclasses.asdict(problem) for problem in problems]
            for index, problems in report.rejected.items()
        },
        "files": list(files),
    }


def read(entry: Entry, renamed: Mapping[str, str]) -> SplitTokens:
    """Returns what `fill` wrote.

    Args:
      entry: has it.
      renamed: a file, as the process that read the rows names it -> as this one does.
    """
    arrays = entry.arrays
    known = {field.name for field in dataclasses.fields(SplitTokens)}
    notes = {name: value for name, value in entry.notes.items() if name in known}
    table = ExampleTable(*(arrays[name] for name in ("ids", "lengths", "indices")))
    names = [renamed.get(name, name) for name in notes.pop("files")]
    del notes["rejected"]
    return SplitTokens(
        examples=table,
        prompts=Texts(arrays["prompts"], arrays["prompt_lengths"], table.indices),
        files=[names[number] for number in arrays["files"][table.indices].tolist()],
        rejected=rejected_of(entry),
        **notes,
    )


def rejected_of(entry: Entry) -> dict[int, list[RowProblem]]:
    """Returns the position of each bad row that `fill` met -> its problems."""
    return {
        int(index): [RowProblem(**problem) for problem in problems]
        for index, problems in entry.notes["rejected"].items()
    }


def _about(rows: Sequence[data.PreferenceRow], files: dict[str, int]) -> dict[str, np.ndarray]:
    """Prompts of rows, and the numbers of their files, of which new ones are added."""
    prompts = [plain_text(row.prompt).encode() for row in rows]
    return {
        "prompts": np.frombuffer(b"".join(prompts), np.uint8),
        "prompt_lengths": np.array([len(prompt) for prompt in prompts], np.int32),
        "files": np.array([files.setdefault(row.file, len(files)) for row in rows], np.int32),
    }


def key(part: Mapping[str, Any], encoder: Encoder, settings: Mapping[str, Any]) -> str:
    """Returns the name of an entry: a digest of all that its token ids depend on.

    Args:
      part: what the rows are, as JSON.
      encoder: makes token ids of them.
      settings: how the rows are read, as JSON.
    """
    tokenizer = encoder.template.tokenizer
    depends = {
        "part": part,
        "settings": settings,
        "encoder": encoder.identity(),
        "tokenizer": [fingerprint.of_tokenizer(tokenizer), type(tokenizer).__name__],
        "versions": {name: metadata.version(name) for name in _LIBRARIES},
        "code": _code(),
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:32]


@functools.cache
def _code() -> str:
    """A digest of the modules that make token ids, as they change between our own versions."""
    root = pathlib.Path(data.__file__).parent
    files = sorted(root.rglob("*.py"))
    return fingerprint.of_text(*(file.read_text(encoding="utf-8") for file in files))
