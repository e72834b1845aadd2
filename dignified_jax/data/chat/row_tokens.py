"""Token ids of rows, or what keeps a row from having them.

Prompt and reply get the ids that the whole conversation has, so training sees what inference
shows. A reply is tokenised after the end of its prompt (`ChatTemplate.context`), or after all of
it where the template has no special token there; what follows the prompt's ids is the reply's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dignified_jax.data.chat.kept import shown_text
from dignified_jax.data.chat.text_loss import MOST_LOST, TextLoss
from dignified_jax.data.schema import PreferenceRow, RowProblem, response_names, shorten
from dignified_jax.data.schema.conversation import Prompt, messages_of
from dignified_jax.data.special_tokens import SpelledToken, encode_literally, spelled_parts
from dignified_jax.data.template import ChatTemplate

_PROMPT = "prompt"
Found = tuple[str, str, str]  # "prompt" or a response's name, expected, found


@dataclass(frozen=True)
class RowTokens:
    """A row's token ids.

    Attributes:
      prompt: (tokens,) int32.
      responses: name of each encoded response -> (tokens,) int32, the end of turn included.
      lossy: whether the tokenizer loses some of its characters, too few to refuse the row.
    """

    prompt: np.ndarray
    responses: dict[str, np.ndarray]
    lossy: bool


@dataclass(frozen=True)
class _Text:
    """A prompt, or a reply with what it is tokenised after.

    Attributes:
      name: "prompt" or the response's name.
      content: the row's own text; of a conversation what is shown of all turns.
      text: rendered.
      after: what a reply is tokenised after: `ChatTemplate.context`, or "" for all of its prompt.
      ids: of `text`; once split, of what follows the prompt.
    """

    name: str
    content: str
    text: str
    after: str = ""
    ids: list[int] | None = None


@dataclass(frozen=True)
class _Start:
    """The text before a reply: the template's pieces, and contents with special tokens."""

    pieces: Sequence[str]
    contents: Sequence[str]


def tokenize_rows(
    rows: Sequence[PreferenceRow],
    template: ChatTemplate,
    responses: Sequence[str],
    loss: TextLoss,
) -> list[RowTokens | list[Found]]:
    """Returns each row's token ids, or everything that keeps it from having them.

    Args:
      rows: the rows.
      template: the chat template.
      responses: names of the responses to encode where a row has them.
      loss: tells which text the tokenizer can't write.
    """
    rendered = [_render(row, template, responses) for row in rows]
    encoded = iter(_with_ids([text for texts, _ in rendered for text in texts], template))
    context = template.ids([template.context])[0] if template.context else None
    split = []
    for texts, found in rendered:
        prompt, *replies = [next(encoded) for _ in texts] or [None]
        kept = [prompt] if prompt else []
        for reply in replies:
            start = context if reply.after else prompt.ids
            if reply.ids[: len(start)] == start:
                kept.append(_ended(reply, len(start), template))
            else:
                found.append((reply.name, *_border(reply.ids, start, template)))
        split.append(kept)
    every = [text for texts in split for text in texts]
    shares = iter(loss.shares([t.content for t in every], [t.ids for t in every]))
    return [
        _checked(texts, [next(shares) for _ in texts], found)
        for texts, (_, found) in zip(split, rendered, strict=True)
    ]


def problems_of(row: PreferenceRow, index: int, found: Sequence[Found]) -> list[RowProblem]:
    """Returns what was found as problems that name file, row and column.

    Args:
      row: the row.
      index: its place in the user's list, for a row without a file.
      found: as `tokenize_rows` gives it.
    """
    file, _ = row.place(index)
    places = [row.cell(name) for name, _, _ in found]
    return [
        RowProblem(file, number if row.file else 0, column, expected, what)
        for (number, column), (_, expected, what) in zip(places, found, strict=True)
    ]


def _render(
    row: PreferenceRow, template: ChatTemplate, responses: Sequence[str]
) -> tuple[list[_Text], list[Found]]:
    """The prompt and the replies that can be rendered, and what is wrong with the others."""
    try:
        prompt_text = template.prompt_text(row.prompt)
        start, prompt = _placed_prompt(row.prompt, prompt_text, template)
    except ValueError as error:
        return [], [_refused(_PROMPT, error)]  # without a prompt there are no replies
    texts, found = [prompt], []
    for name in response_names(row.dimensions):
        content = row.response(name) if name in responses else None
        if content is None:
            continue
        try:
            text = template.reply_text(row.prompt, prompt_text, content)
            texts.append(_placed_reply(name, content, text, prompt_text, start, template))
        except ValueError as error:
            found.append(_refused(name, error))
    return texts, found


def _refused(name: str, error: ValueError) -> Found:
    if isinstance(error, SpelledToken):
        return name, error.expected, error.found
    return name, "a text that the chat template takes", str(error)


def _placed_prompt(prompt: Prompt, text: str, template: ChatTemplate) -> tuple[_Start, _Text]:
    """A rendered prompt, with its ids if it spells special tokens, and what replies follow."""
    made = _Text(_PROMPT, "\n".join(map(shown_text, messages_of(prompt))), text)
    parts = spelled_parts(template, prompt)
    if parts is None:
        return _Start([text], []), made
    return _Start(*parts), replace(made, ids=encode_literally(template, text, *parts))


def _placed_reply(
    name: str, content: str, text: str, prompt_text: str, start: _Start, template: ChatTemplate
) -> _Text:
    """A rendered reply behind what it is tokenised after; with its ids if special tokens are
    spelled in it or there."""
    after = template.context if prompt_text.endswith(template.context) else ""
    if after:
        start = _Start([after], [])
    made = _Text(name, content, (after or prompt_text) + text + template.end_text, after)
    *before, last = start.pieces
    if template.special.search(content):
        end = template.closing + template.end_text
        start = _Start([*before, last + template.reply_head, end], [*start.contents, content])
    elif start.contents:
        start = _Start([*before, last + text + template.end_text], start.contents)
    else:
        return made
    return replace(made, ids=encode_literally(template, made.text, start.pieces, start.contents))


def _with_ids(texts: Sequence[_Text], template: ChatTemplate) -> list[_Text]:
    """The texts with the ids of all, in one call of the tokenizer."""
    encoded = iter(template.ids([text.text for text in texts if text.ids is None]))
    return [text if text.ids is not None else replace(text, ids=next(encoded)) for text in texts]


def _ended(reply: _Text, start: int, template: ChatTemplate) -> _Text:
    """A reply's own ids: those from `start` on, and the end of turn."""
    ids, end = reply.ids[start:], template.end_of_turn
    return replace(reply, ids=ids if ids[-1:] == [end] else [*ids, end])


def _border(ids: Sequence[int], start: Sequence[int], template: ChatTemplate) -> tuple[str, str]:
    """Returns what is wrong where no token begins with the reply, in words: expected, found."""
    at = next(n for n, pair in enumerate(zip(ids, start, strict=False)) if pair[0] != pair[1])
    decode = template.tokenizer.decode
    return (
        "a reply that begins with a token of its own",
        f"{decode(ids[at : at + 1])!r}, one token for the prompt's end {decode(start[at:])!r} and "
        "the reply's beginning; change the white space there, or the chat template's",
    )


def _checked(
    texts: Sequence[_Text], shares: Sequence[float], found: list[Found]
) -> RowTokens | list[Found]:
    for text, share in zip(texts, shares, strict=True):
        if len(text.ids) - (text.name != _PROMPT) < 1:
            found.append((text.name, "tokens", f"none for {shorten(text.content)}"))
        elif share > MOST_LOST:
            what = f"{share:.0%} of the visible characters lost of {shorten(text.content)}"
            found.append((text.name, "text that the tokenizer can write", what))
    if found:
        return found
    ids = {text.name: np.asarray(text.ids, np.int32) for text in texts}
    return RowTokens(ids.pop(_PROMPT), ids, lossy=any(shares))
