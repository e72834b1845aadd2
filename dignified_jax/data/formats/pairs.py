"""The format of pairs: columns prompt, chosen and rejected, as trainers of DPO have them.

A pair compares in one dimension, which a column names or which is the same for all. Pairs of equal
prompt and chosen become one row of several rejects, which share its prompt and golden.
"""

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dignified_jax.data.formats.columns import Columns
from dignified_jax.data.schema import BadRowsError, PreferenceRow, Prompt, RowProblem, shorten
from dignified_jax.data.schema.cells import (
    Found,
    has_value,
    is_blank,
    is_turns,
    read_messages,
    read_prompt,
    read_reply,
    read_text,
    refused_columns,
)
from dignified_jax.data.schema.conversation import ASSISTANT, USER, Message
from dignified_jax.data.sources import RawRecord
from dignified_jax.data.sources.record import format_hint

REQUIRED_COLUMNS = ("chosen", "rejected")
COLUMNS = ("prompt", *REQUIRED_COLUMNS, "dimension")
_REPLIES = REQUIRED_COLUMNS
# Columns that hold the prompt in data sets of pairs without one of that very name, in any case.
_LIKE_PROMPT = {
    *("prompt", "prompts", "user_prompt", "question", "questions", "instruction", "instructions"),
    *("query", "input", "problem"),
}
_SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_Split = tuple[Prompt | None, str | None, str | None]  # prompt, chosen, rejected


def check_columns(
    source: str, columns: Columns, dimensions: tuple[str, ...], dimension: str | None = None
) -> None:
    """Checks that every pair can have a dimension.

    Raises:
      BadRowsError: no column names dimensions, and none is given.
    """
    if columns.names and dimension is None and "dimension" not in columns.names:
        expected = f"a column of names out of {', '.join(dimensions)}, or data.dimension for all"
        raise BadRowsError([RowProblem(source, 0, "dimension", expected, "neither")])


def validate(
    record: RawRecord,
    columns: Columns,
    dimensions: tuple[str, ...],
    dimension: str | None = None,
) -> tuple[PreferenceRow | None, list[RowProblem]]:
    """Returns the row of a pair and no problems, or None and at least one problem.

    Args:
      record: the pair.
      columns: of all records; texts without a prompt are split only where none has one.
      dimensions: the set that the data are about.
      dimension: of pairs without one of their own.
    """
    if record.columns is None:
        assert record.problem is not None
        return None, [RowProblem(record.file, record.row, *record.problem)]
    found = refused_columns(record.columns)
    prompt, chosen, rejected = _split(record.columns, columns, found)
    named = _dimension(record.columns.get("dimension"), dimensions, dimension, found)
    for name, text in (("prompt", prompt), ("chosen", chosen), ("rejected", rejected)):
        if isinstance(text, str) and is_blank(text):
            found.append((name, "text", f"an empty cell {shorten(text)}"))
    if not found and chosen.strip() == rejected.strip():
        found.append(("rejected", "a text other than chosen", shorten(rejected)))
    if found:
        return None, [RowProblem(record.file, record.row, *each) for each in found]
    rejects, pairs = {named: rejected}, {named: record.row}
    return PreferenceRow(prompt, chosen, rejects, dimensions=dimensions, pairs=pairs), []


def _dimension(
    value: object, dimensions: tuple[str, ...], default: str | None, found: list[Found]
) -> str | None:
    noted = len(found)
    name = read_text("dimension", value, found) or default
    if name not in dimensions and len(found) == noted:
        shown = "an empty cell" if name is None else shorten(name)
        found.append(("dimension", f"one of {', '.join(dimensions)}", shown))
    return name


def _split(pair: Mapping[str, Any], columns: Columns, found: list[Found]) -> _Split:
    """The prompt and the two replies of a pair, None for what has a problem."""
    missing = [name for name in _REPLIES if name not in pair]
    if missing:
        hint = f"columns {shorten(list(pair), 400)}{format_hint(pair)}"
        found += [(name, "a column of this name", hint) for name in missing]
        return None, None, None
    prompt, replies = pair.get("prompt"), [pair[name] for name in _REPLIES]
    if not has_value(prompt) and all(map(_is_transcript, replies)):
        return _shared_turns(None, [_transcript(reply) for reply in replies], found)
    if any(map(_holds_prompt, replies)):
        return _shared_turns(prompt, replies, found)
    texts = all(isinstance(reply, str) for reply in replies)
    if texts and not columns.anywhere("prompt"):
        if elsewhere := _prompt_elsewhere(pair, replies):
            expected = "a column of this name, as chosen and rejected are replies alone"
            found.append(("prompt", expected, f"a column {shorten(elsewhere)}, to rename"))
            return None, None, None
        return _shared_text(replies, found)
    if not has_value(prompt):
        why = "chosen and rejected are replies alone, without turns before them"
        found.append(("prompt", f"a prompt, as {why}", "none"))
        return None, None, None
    chosen, rejected = (
        read_reply(name, reply, found) for name, reply in zip(_REPLIES, replies, strict=True)
    )
    return read_prompt("prompt", prompt, found), chosen, rejected


def _prompt_elsewhere(pair: Mapping[str, Any], replies: Sequence[str]) -> str | None:
    """The name of another column that holds a prompt which the replies do not begin with."""
    shared = os.path.commonprefix(replies)  # noqa: RUF071  (by characters)
    for name, value in pair.items():
        if name.strip().casefold() in _LIKE_PROMPT and (
            is_turns(value) or (isinstance(value, str) and value.strip() not in shared)
        ):
            return name
    return None


def _shared_text(replies: Sequence[str], found: list[Found]) -> _Split:
    """The text that two texts begin with, less a space at its end, and the rest of each.

    As TRL's `extract_prompt` has it: where one text is the beginning of the other, its last
    character stays with the reply.
    """
    noted = len(found)
    chosen, rejected = (
        read_text(name, reply, found) for name, reply in zip(_REPLIES, replies, strict=True)
    )
    if len(found) > noted:
        return None, None, None
    if chosen == rejected:
        found.append(("rejected", "a text other than chosen", shorten(rejected)))
        return None, None, None
    end = len(os.path.commonprefix((chosen, rejected)))  # noqa: RUF071  (by characters)
    if end == min(len(chosen), len(rejected)) or chosen[end - 1 : end] == " ":
        end -= 1
    if end < 1 or is_blank(chosen[:end]):
        expected = "a column of this name, or one text that chosen and rejected begin with"
        found.append(("prompt", expected, f"{shorten(chosen)} and {shorten(rejected)}"))
        return None, None, None
    return chosen[:end], chosen[end:], rejected[end:]


def _shared_turns(prompt: object, replies: Sequence[object], found: list[Found]) -> _Split:
    """The prompt that two conversations begin with, and the reply that ends each."""
    noted = len(found)
    turns = []
    for name, reply in zip(_REPLIES, replies, strict=True):
        if is_turns(reply):
            turns.append(read_messages(name, reply, found))
        else:
            what = f"{shorten(reply)} ({type(reply).__name__})"
            found.append((name, "turns, as the other reply has", what))
    if len(found) > noted:
        return None, None, None
    if turns[0] == turns[1]:
        found.append(("rejected", "turns other than chosen's", "the same"))
        return None, None, None
    pairs = zip(*turns, strict=False)
    shared = list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    texts = []
    for name, messages in zip(_REPLIES, turns, strict=True):
        rest = [message.role for message in messages[len(shared) :]]
        if rest != [ASSISTANT]:
            expected = f"one turn of the assistant after the {len(shared)} that both share"
            found.append((name, expected, f"{len(rest)}: {', '.join(rest)}" if rest else "none"))
        texts.append(messages[-1].content if messages else None)
    common = [message for message, _ in shared]
    made = read_prompt("chosen", common, found)
    if has_value(prompt):
        _check_repeated(prompt, common, found)
    return (None, None, None) if len(found) > noted else (made, *texts)


def _check_repeated(prompt: object, shared: Sequence[Message], found: list[Found]) -> None:
    """A column prompt beside whole conversations repeats them, or one turn of the user's."""
    if is_turns(prompt):
        noted = len(found)
        repeats = read_messages("prompt", prompt, found) == list(shared)
        if not repeats and len(found) == noted:
            found.append(("prompt", "the turns that chosen and rejected share", shorten(prompt)))
        return
    text = read_text("prompt", prompt, found)
    turns = {message.content.strip() for message in shared if message.role == USER}
    if text is not None and text.strip() not in turns:
        found.append(("prompt", "a user's turn that chosen and rejected share", shorten(text)))


def _holds_prompt(reply: object) -> bool:
    """Returns whether a reply comes with turns before it."""
    if not is_turns(reply) or not len(reply):
        return False
    first = reply[0]
    return len(reply) > 1 or (isinstance(first, Mapping) and first.get("role") != ASSISTANT)


def _is_transcript(text: object) -> bool:
    """Returns whether a text has turns in the form of Anthropic's: "\\n\\nHuman: ..."."""
    return isinstance(text, str) and re.match(r"\s*Human:", text) is not None


def _transcript(text: str) -> list[dict[str, str]]:
    _, *parts = _SPEAKER.split(text)
    roles = {"Human": USER, "Assistant": ASSISTANT}
    return [
        {"role": roles[speaker], "content": content.strip()}
        for speaker, content in zip(parts[::2], parts[1::2], strict=True)
    ]
