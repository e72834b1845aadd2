"""Values of cells as texts, prompts and replies; whatever they are besides is noted."""

import ast
import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from dignified_jax.data.schema import conversation
from dignified_jax.data.schema.conversation import ASSISTANT, ROLES, Message, Prompt
from dignified_jax.data.schema.problems import shorten

Found = tuple[str, str, str]
"""What is wrong with a record: field, expected, found."""

_TOOLS = "tools are not trained on, leave the row out"
_THOUGHTS = "write thoughts into content, as <think>...</think>"
_ROLES = {"tool": _TOOLS, "function": _TOOLS, "developer": "write it as 'system'"}
_REFUSED = {
    **dict.fromkeys(("tool_calls", "function_call", "tool_call_id", "tools"), _TOOLS),
    **dict.fromkeys(("reasoning_content", "reasoning", "thinking"), _THOUGHTS),
    **dict.fromkeys(("images", "image", "audio", "video"), "only text is trained on"),
}
"""Keys of a turn that a chat template may show; others, such as an id, it does not."""


def refused_columns(columns: Mapping[str, Any]) -> list[Found]:
    """Returns a problem for each column that a model would have to see beside the text."""
    return [
        (name, "none, as only text is trained on", shorten(columns[name]))
        for name in ("images", "tools")
        if has_value(columns.get(name))
    ]


def is_empty(value: object) -> bool:
    """Returns whether a cell has no value: None, or a table's NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def has_value(value: object) -> bool:
    """Returns whether an optional field is there: files with fixed columns have all, empty."""
    return not is_empty(value) and not (hasattr(value, "__len__") and len(value) == 0)


def is_blank(text: str) -> bool:
    """Returns whether nothing of a text is visible: white space, and marks of no width."""
    return all(each.isspace() or unicodedata.category(each) in ("Cc", "Cf") for each in text)


def read_text(
    name: str, value: object, problems: list[Found], expected: str = "text"
) -> str | None:
    """Returns the text of a cell ("" when empty), or None after noting a problem."""
    if is_empty(value):
        return ""
    if not isinstance(value, str):
        problems.append((name, expected, f"{shorten(value)} ({type(value).__name__})"))
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        # Bytes that were not UTF-8, or half a surrogate pair in JSON: no tokenizer takes them.
        found = f"{value[error.start]!a} at character {error.start} of {shorten(value)}"
        problems.append((name, "valid Unicode (UTF-8) text", found))
        return None
    return value


def read_prompt(name: str, value: object, problems: list[Found]) -> Prompt | None:
    """Returns a cell's user text or conversation ("" when empty), or None after noting problems.

    A conversation of a single user's turn is its text.
    """
    messages = _text_or_turns(name, value, problems, "a user's text, or a list of turns")
    if not isinstance(messages, list):
        return messages
    wrong = conversation.wrong_order([message.role for message in messages])
    if wrong is not None:
        at, expected = wrong
        found = f"the {messages[at].role}'s" if at < len(messages) else "the end"
        problems.append((f"{name}[{at}]", expected, found))
        return None
    return conversation.simplified(messages)


def read_reply(name: str, value: object, problems: list[Found]) -> str | None:
    """Returns a cell's text ("" when empty) or that of its one assistant's turn, or None after
    noting problems."""
    expected = "text, or one turn of the assistant"
    if isinstance(value, Mapping):
        value = [value]
    messages = _text_or_turns(name, value, problems, expected)
    if not isinstance(messages, list):
        return messages
    roles = [message.role for message in messages]
    if roles != [ASSISTANT]:
        found = f"{len(roles)} of {', '.join(roles[:6])}"
        problems.append((name, expected, found))
        return None
    return messages[0].content


def _text_or_turns(
    name: str, value: object, problems: list[Found], expected: str
) -> str | list[Message] | None:
    """A cell's text ("" when empty) or its turns, of which there are some; or None after noting
    problems."""
    if not is_turns(value):
        return _plain(name, value, problems, expected)
    if not len(value):
        return ""
    noted = len(problems)
    messages = read_messages(name, value, problems)
    return None if len(problems) > noted else messages


def read_messages(name: str, value: object, problems: list[Found]) -> list[Message]:
    """Returns the turns of a list in any order, those with a problem left out and noted."""
    messages = (_message(f"{name}[{at}]", item, problems) for at, item in enumerate(value))
    return [message for message in messages if message is not None]


def _message(name: str, item: object, problems: list[Found]) -> Message | None:
    if isinstance(item, Message):
        item = item._asdict()
    if not isinstance(item, Mapping):
        found = f"{shorten(item)} ({type(item).__name__})"
        problems.append((name, "a turn {'role': ..., 'content': ...}", found))
        return None
    role, noted = item.get("role"), len(problems)
    if role not in ROLES:
        cure = _ROLES.get(role) if isinstance(role, str) else None
        found = f"{shorten(role)}; {cure}" if cure else shorten(role)
        problems.append((f"{name}.role", f"one of {', '.join(map(repr, ROLES))}", found))
    problems += [
        (f"{name}.{key}", "role and content alone", f"{shorten(item[key])}; {cure}")
        for key in item
        if (cure := _REFUSED.get(key)) and has_value(item[key])
    ]
    if len(problems) > noted:
        return None
    content = _content(f"{name}.content", item.get("content"), problems)
    if content is not None and role != conversation.SYSTEM and is_blank(content):
        problems.append((f"{name}.content", "text", f"an empty one {shorten(content)}"))
        return None
    return None if content is None else Message(role, content)


def _content(name: str, value: object, problems: list[Found]) -> str | None:
    """The text of a turn; parts of text stand one after the other, as chat templates print them."""
    if not is_turns(value):
        return read_text(name, value, problems)
    texts = []
    for at, part in enumerate(value):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind != "text" or is_empty(part.get("text")):
            found = f"one of type {shorten(kind)}" if kind not in (None, "text") else shorten(part)
            problems.append((f"{name}[{at}]", "a part {'type': 'text', 'text': ...}", found))
            return None
        texts.append(read_text(f"{name}[{at}].text", part["text"], problems))
    return None if None in texts else "".join(texts)


def _plain(name: str, value: object, problems: list[Found], expected: str) -> str | None:
    text = read_text(name, value, problems, expected)
    if text is None or not _is_written_list(text):
        return text
    problems.append((name, expected, f"turns written as text: {shorten(text)}"))
    return None


def _is_written_list(text: str) -> bool:
    """Returns whether a text is a whole list of turns in JSON or Python, as tables keep them."""
    if not (text.startswith("[{") and text.endswith("}]")):
        return False
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return all(isinstance(item, dict) and {"role", "content"} <= item.keys() for item in value)
    return False


def is_turns(value: object) -> bool:
    """Returns whether a cell is a list, also one that a table library made an array."""
    return isinstance(value, list | tuple) or (
        hasattr(value, "tolist") and not isinstance(value, str) and getattr(value, "ndim", 0) == 1
    )
