"""Responses as JSON lines that grow one by one, and that a later run goes on with.

Each line says how it was made: `prompt_hash` of its prompt, and `settings`. A line is written as
soon as its response is complete; a process that dies loses those in flight alone.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from dignified_jax.data.schema import Prompt, first_lines
from dignified_jax.data.schema.conversation import as_objects
from dignified_jax.files import jsonl, lock
from dignified_jax.files.differences import differences

Line = dict[str, Any]
# Settings that say where a model was, not which.
PLACES = ("path", "endpoint")
TEMPLATE_DATE = "template_date"
# Younger than the first files: lines that say nothing of them are taken as they are.
_LATER = ("stop_tokens", "tokenizer", TEMPLATE_DATE)


class ResponseFileError(ValueError):
    """A file of responses can't be gone on with."""


class ResponseFile:
    """Made by `opened`.

    Attributes:
      waiting: id -> prompt, of those that have no response yet.
      kept: number of responses that are there.
      notes: lines for a person.
    """

    def __init__(
        self, file: pathlib.Path, prompts: Mapping[str, Prompt], settings: Mapping[str, Any]
    ) -> None:
        self._file, self._prompts, self._settings = file, prompts, dict(settings)
        self._lines = _read(file) if file.exists() else {}
        self.notes: list[str] = []
        self._check_settings()
        changed = [n for n, p in prompts.items() if self._hash(n) not in (None, prompt_hash(p))]
        for name in changed:
            del self._lines[name]
        if changed:
            self.notes.append(f"{file}: {len(changed)} prompts have changed and are asked again")
        others = len(self._lines.keys() - prompts.keys())
        if others:
            self.notes.append(f"{file}: {others} responses to other prompts stay")
        self.waiting = {name: p for name, p in prompts.items() if name not in self._lines}
        self.kept = len(prompts) - len(self.waiting)
        if file.exists():  # without what was cut off, or is asked again
            jsonl.write(file, list(self._lines.values()))

    def add(self, name: str, response: str, **facts: object) -> None:
        """Writes a line.

        Args:
          name: id of the prompt.
          response: its text.
          facts: further fields.
        """
        prompt = self._prompts[name]
        self._lines[name] = {
            "id": name,
            "prompt": as_objects(prompt),
            "response": response,
            **facts,
            "prompt_hash": prompt_hash(prompt),
            "settings": self._settings,
        }
        jsonl.append(self._file, self._lines[name])

    def sort(self) -> None:
        """Writes the lines in the order of the prompts, those of other prompts first."""
        first = [name for name in self._lines if name not in self._prompts]
        names = [*first, *(name for name in self._prompts if name in self._lines)]
        jsonl.write(self._file, [self._lines[name] for name in names])

    def _hash(self, name: str) -> str | None:
        return self._lines[name]["prompt_hash"] if name in self._lines else None

    def _check_settings(self) -> None:
        now = json.loads(json.dumps(self._settings))  # tuples become lists, as in the file
        for name, line in self._lines.items():
            before = line["settings"]
            unsaid = [each for each in _LATER if each not in before]
            if found := differences(before, now, (*PLACES, *unsaid)):
                raise ResponseFileError(
                    f"{self._file}: id {name} was made with other settings ({'; '.join(found)}); "
                    "choose another --out, or remove the file"
                )


@contextlib.contextmanager
def opened(
    file: str | pathlib.Path, prompts: Mapping[str, Prompt], settings: Mapping[str, Any]
) -> Iterator[ResponseFile]:
    """A file of responses, held for this process; made if need be, its directory too.

    Args:
      file: JSON lines.
      prompts: id -> prompt.
      settings: JSON values that say how responses are made.

    Raises:
      ResponseFileError: it has a damaged line, or lines of other settings; names them.
      BusyError: another process holds it.
      OSError: it can't be read or written.
    """
    file = pathlib.Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with lock.held_file(file.with_name(f".{file.name}.lock")):
        yield ResponseFile(file, prompts, settings)


def recorded_date(file: str | pathlib.Path) -> datetime.date | None:
    """Returns the day that the chat template was told when a file's lines were made.

    None where no line says one. What is wrong with a file is told by `opened`.
    """
    file = pathlib.Path(file)
    records, _ = jsonl.read(file, _is_line) if file.is_file() else ([], [])
    for record in records:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return datetime.date.fromisoformat(record["settings"][TEMPLATE_DATE])
    return None


def prompt_hash(prompt: Prompt) -> str:
    """Returns 16 hexadecimal digits of a prompt."""
    text = json.dumps(as_objects(prompt))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(file: pathlib.Path) -> dict[str, Line]:
    records, damaged = jsonl.read(file, _is_line)
    if damaged:
        lines = first_lines([f"{file}:{number}: {line[:60]!r}" for number, line in damaged])
        raise ResponseFileError(
            "\n".join(["expected responses of an earlier run, found other lines:", *lines])
        )
    found = {record["id"]: record for record in records}
    if len(found) < len(records):
        raise ResponseFileError(f"{file}: an id stands twice")
    return found


def _is_line(record: Line) -> bool:
    texts = all(isinstance(record.get(name), str) for name in ("id", "response", "prompt_hash"))
    return texts and isinstance(record.get("settings"), dict)
