"""Prompts: a user's text, or the turns of a conversation up to a user's."""

import json
from collections.abc import Sequence
from typing import NamedTuple

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ROLES = (SYSTEM, USER, ASSISTANT)


class Message(NamedTuple):
    """One turn of a conversation.

    Attributes:
      role: "system", "user" or "assistant".
      content: its text.
    """

    role: str
    content: str


Prompt = str | tuple[Message, ...]
"""The text of a single user's turn, or several turns: maybe the system's, then the user's and the
assistant's in turn, the user's last."""


def is_read(prompt: object) -> bool:
    """Returns whether turns are a `Prompt` already, as they are kept."""
    return (
        isinstance(prompt, tuple)
        and len(prompt) > 1
        and all(type(each) is Message and type(each.content) is str for each in prompt)
        and wrong_order([message.role for message in prompt]) is None
    )


def messages_of(prompt: Prompt) -> tuple[Message, ...]:
    """Returns the turns of a prompt, one of the user for a mere text."""
    return (Message(USER, prompt),) if isinstance(prompt, str) else prompt


def as_objects(prompt: Prompt) -> str | list[dict[str, str]]:
    """Returns a prompt as files have it: text, or {"role", "content"} of each turn."""
    return prompt if isinstance(prompt, str) else [message._asdict() for message in prompt]


def plain_text(prompt: Prompt) -> str:
    """Returns a prompt as one text for a person, or for a digest: turns as JSON."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)


def stripped(prompt: Prompt) -> str:
    """Returns a text that prompts share which differ in outer white space alone."""
    if isinstance(prompt, str):
        return prompt.strip()
    return plain_text(tuple(Message(role, content.strip()) for role, content in prompt))


def shortened(prompt: Prompt) -> list[Prompt]:
    """Returns a prompt less its oldest exchange, less two, and so on to the user's last turn."""
    messages = messages_of(prompt)
    start = int(messages[0].role == SYSTEM)
    system, turns = messages[:start], messages[start:]
    return [simplified((*system, *turns[at:])) for at in range(2, len(turns), 2)]


def simplified(messages: Sequence[Message]) -> Prompt:
    """Returns the text alone of a single user's turn, other turns as they are."""
    return messages[0].content if len(messages) == 1 else tuple(messages)


def wrong_order(roles: Sequence[str]) -> tuple[int, str] | None:
    """Returns the first turn that is not the one expected there, from 0, and what was expected.

    A turn too few is one beyond the last.
    """
    start = int(roles[:1] == [SYSTEM])
    for number, role in enumerate(roles[start:]):
        wanted = (USER, ASSISTANT)[number % 2]
        if role != wanted:
            first = " (or the system's)" if number == start == 0 else ""
            return start + number, f"the {wanted}'s turn{first}"
    if (len(roles) - start) % 2 == 0:
        return len(roles), f"the {USER}'s turn, to which the replies are"
    return None
