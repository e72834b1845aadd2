"""Checks that a rendered conversation lost nothing of its turns.

Templates may strip and re-space texts, leave out what former replies thought, and take words that
switch their mode out of the system's turn.
"""

import re
from collections.abc import Sequence

from dignified_jax.data.schema.conversation import ASSISTANT, SYSTEM, Message

THOUGHTS_END = "</think>"
_SWITCHES = re.compile(r"/no_think|/think|/system_override")


def shown_text(message: Message) -> str:
    """Returns what of a prompt's turn a template has to show: all but the thoughts of a reply."""
    if message.role != ASSISTANT:
        return message.content
    return message.content.rpartition(THOUGHTS_END)[2]


def check_turns_kept(messages: Sequence[Message], rendered: str) -> None:
    """Checks that a rendered conversation holds the text of its turns.

    Those of user and assistant stand in their order, the system's anywhere.

    Raises:
      ValueError: a text is lost or altered; says whose.
    """
    if len(messages) == 1:
        check_kept(messages[0].content, rendered, "the text")
        return
    shown, start = _squeezed(rendered), 0
    for message in messages:
        if message.role == SYSTEM:
            content, of = (_SWITCHES.sub("", text) for text in (message.content, rendered))
            check_kept(content, of, "the system turn's text")
            continue
        wanted = _squeezed(shown_text(message))
        at = shown.find(wanted, start)
        if at < 0:
            raise ValueError(f"it loses or alters part of the text of the {message.role}'s turn")
        start = at + len(wanted)


def check_kept(content: str, rendered: str, what: str) -> None:
    """Checks that rendered text holds a content, but for white space.

    Args:
      content: of a turn.
      rendered: the text.
      what: names the content in the message.

    Raises:
      ValueError: part of it is lost or altered.
    """
    if _squeezed(content) not in _squeezed(rendered):
        raise ValueError(f"it loses or alters part of {what}")


def _squeezed(text: str) -> str:
    return "".join(text.split())
