"""Encoding texts that spell a special token, such as a user who writes "<|im_end|>".

Parsed as usual, such a text would end its own turn. Here the special tokens of the template
are parsed and those in the texts of turns are plain characters.
"""

import re
from collections.abc import Sequence

from dignified_jax.data.chat.kept import THOUGHTS_END
from dignified_jax.data.schema.conversation import Prompt, messages_of
from dignified_jax.data.template import ChatTemplate


class SpelledToken(ValueError):
    """A text spells a special token and can't be encoded as plain text.

    Attributes:
      expected, found: as it should be and as it is, in words.
    """

    def __init__(self, spelled: str, why: str) -> None:
        self.expected = "text without special tokens"
        self.found = f"{spelled!r}, which can't be encoded as plain text: {why}"
        super().__init__(f"expected {self.expected}, found {self.found}")


def spelled_parts(template: ChatTemplate, prompt: Prompt) -> tuple[list[str], list[str]] | None:
    """Returns pieces and contents for `encode_literally`; None where no special token is spelled.

    Raises:
      ValueError: as `ChatTemplate.pieces`.
    """
    messages = messages_of(prompt)
    spelled = [n for n, m in enumerate(messages) if template.special.search(m.content)]
    if not spelled:
        return None
    order, pieces = template.pieces(messages, spelled)
    return pieces, [messages[number].content for number in order]


def encode_literally(
    template: ChatTemplate, text: str, pieces: Sequence[str], contents: Sequence[str]
) -> list[int]:
    """Token ids of a rendered text, with the contents in it as plain text.

    The text is cut at the special tokens nearest to each content: tokens never span those, so the
    parts give the same ids as the whole would.

    Args:
      template: the chat template that rendered `text`.
      text: the rendered text.
      pieces: the template's own texts before, between and after the contents.
      contents: the texts of turns, in the order in which they are shown.

    Raises:
      SpelledToken: this tokenizer can't be made to do that.
    """
    shown = [f"(\\s*(?:{'|'.join(map(re.escape, _cores(each)))})\\s*)" for each in contents]
    fixed = [re.escape(piece) for piece in pieces]
    pattern = fixed[0] + "".join(a + b for a, b in zip(shown, fixed[1:], strict=True))
    match = re.fullmatch(pattern, text)
    if match is None:
        raise _refusal(template, contents, "the template renders it unlike other texts")
    ids = _encode(template, pieces, match.groups())
    # The same cuts must reproduce plain texts' ids: tokenizers that mark the beginning of every
    # part, for one, do not. The last call leaves the tokenizer parsing special tokens again.
    plain = ["word"] * len(contents)
    if _encode(template, pieces, plain) != _ids(template, "word".join(pieces), False):
        raise _refusal(template, contents, "this tokenizer depends on what stands before")
    special = [template.special.fullmatch(token) for token in _tokens(template, ids)]
    expected = sum(len(template.special.findall(piece)) for piece in pieces)
    if sum(found is not None for found in special) != expected:
        raise _refusal(template, contents, "this tokenizer has no split_special_tokens")
    return ids


def _cores(content: str) -> list[str]:
    """The texts that a template may show of a turn: all, or what follows the thoughts."""
    return [content.strip(), content.rpartition(THOUGHTS_END)[2].strip()]


def _encode(template: ChatTemplate, pieces: Sequence[str], contents: Sequence[str]) -> list[int]:
    parts = _cut(template, pieces, contents)
    return [number for text, literal in parts for number in _ids(template, text, literal)]


def _cut(
    template: ChatTemplate, pieces: Sequence[str], contents: Sequence[str]
) -> list[tuple[str, bool]]:
    """The whole text in parts: (text, whether it is literal)."""
    parts: list[tuple[str, bool]] = []
    literal = ""
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        marks = list(template.special.finditer(piece))
        if marks:
            start = 0 if number == 0 else marks[0].start()
            end = len(piece) if last else marks[-1].end()
            parts += [(literal + piece[:start], True), (piece[start:end], False)]
            literal = piece[end:]
        else:
            literal += piece
        literal += "" if last else contents[number]
    return [(text, plain) for text, plain in [*parts, (literal, True)] if text]


def _ids(template: ChatTemplate, text: str, split: bool) -> list[int]:
    return template.tokenizer(
        text, add_special_tokens=False, split_special_tokens=split, verbose=False
    )["input_ids"]


def _tokens(template: ChatTemplate, ids: list[int]) -> list[str]:
    return template.tokenizer.convert_ids_to_tokens(ids)


def _refusal(template: ChatTemplate, contents: Sequence[str], why: str) -> SpelledToken:
    found = next(filter(None, map(template.special.search, contents)), None)
    return SpelledToken(found.group() if found else "", why)
