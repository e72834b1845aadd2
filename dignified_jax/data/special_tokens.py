"""Encoding texts that spell a special token, such as a user who writes "<|im_end|>".

Parsed as usual, such a text would end its own turn. Here the special tokens of the template
are parsed and those in the user's text are plain characters.
"""

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


def encode_literally(
    template: ChatTemplate, part: str, content: str, text: str, start: str = ""
) -> list[int]:
    """Token ids of a rendered text, with `content` in it as plain text.

    The text is cut at the last special token before the content and the first after it:
    tokens never span those, so the pieces give the same ids as the whole would.

    Args:
      template: the chat template that rendered `text`.
      part: "prompt" or "reply".
      content: the user's text or the reply.
      text: the rendered prompt, or the reply up to its end-of-turn token.
      start: of a reply, the text that it is tokenised after.

    Raises:
      SpelledToken: this tokenizer can't be made to do that.
    """
    if part == "prompt":
        head, tail = template.head, template.tail
    else:
        head, tail = start + template.reply_head, template.closing + template.end_text
        text = start + text + template.end_text
        if not template.context:
            # No special token ends the prompt: its text and the reply are one piece.
            content = text[len(template.head) : len(text) - len(tail)]
            head = template.head
            if template.special.search(template.reply_head):
                raise _refusal(template, content, "a special token begins the reply")
    middle = text[len(head) : len(text) - len(tail)]
    fits = text.startswith(head) and text.endswith(tail)
    if not fits or middle.strip() != content.strip():
        raise _refusal(template, content, "the template renders it unlike other texts")
    # The same cut must reproduce a plain text's ids: tokenizers that mark the beginning of
    # every piece, for one, do not.
    if _pieces(template, head, "word", tail) != _ids(template, f"{head}word{tail}", False):
        raise _refusal(template, content, "this tokenizer depends on what stands before")
    ids = _pieces(template, head, middle, tail)
    special = [template.special.fullmatch(token) for token in _tokens(template, ids)]
    expected = len(template.special.findall(head)) + len(template.special.findall(tail))
    if sum(match is not None for match in special) != expected:
        raise _refusal(template, content, "this tokenizer has no split_special_tokens")
    return ids


def _pieces(template: ChatTemplate, head: str, middle: str, tail: str) -> list[int]:
    before = max((match.end() for match in template.special.finditer(head)), default=0)
    after = template.special.search(tail)
    end = len(tail) if after is None else after.start()
    literal = _ids(template, f"{head[before:]}{middle}{tail[:end]}", True)
    # The literal piece first: the last call leaves the tokenizer parsing special tokens again.
    return [
        *_ids(template, head[:before], False),
        *literal,
        *_ids(template, tail[end:], False),
    ]


def _ids(template: ChatTemplate, text: str, split: bool) -> list[int]:
    return template.tokenizer(
        text, add_special_tokens=False, split_special_tokens=split, verbose=False
    )["input_ids"]


def _tokens(template: ChatTemplate, ids: list[int]) -> list[str]:
    return template.tokenizer.convert_ids_to_tokens(ids)


def _refusal(template: ChatTemplate, content: str, why: str) -> SpelledToken:
    found = template.special.search(content)
    return SpelledToken(found.group() if found else "", why)
