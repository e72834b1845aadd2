"""Token ids of rows, or what keeps a row from having them.

Prompt and reply get the ids that the whole conversation has, so training sees what inference
shows. A reply is tokenised after the end of its prompt (`ChatTemplate.context`), or after all of
it where the template has no special token there; what follows the prompt's ids is the reply's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dignified_jax.data.chat.text_loss import MOST_LOST, TextLoss
from dignified_jax.data.schema import PreferenceRow, RowProblem, response_names, shorten
from dignified_jax.data.special_tokens import SpelledToken, encode_literally
from dignified_jax.data.template import ChatTemplate

_PROMPT = "prompt"
_Found = tuple[str, str, str]  # "prompt" or a response's name, expected, found


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
      content: the row's own text.
      text: rendered.
      ids: of `text`; once split, of what follows the prompt.
    """

    name: str
    content: str
    text: str
    ids: list[int] | None = None


def tokenize_rows(
    rows: Sequence[PreferenceRow],
    template: ChatTemplate,
    responses: Sequence[str],
    loss: TextLoss,
) -> list[RowTokens | list[_Found]]:
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
            start = prompt.ids if context is None else context
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


def problems_of(row: PreferenceRow, index: int, found: Sequence[_Found]) -> list[RowProblem]:
    """Returns what was found as problems that name file, row and column.

    Args:
      row: the row.
      index: its place in the user's list, for a row without a file.
      found: as `tokenize_rows` gives it.
    """
    file, number = row.place(index)
    named = (_PROMPT, "golden")
    return [
        RowProblem(file, number, name if name in named else f"reject_{name}", expected, what)
        for name, expected, what in found
    ]


def _render(
    row: PreferenceRow, template: ChatTemplate, responses: Sequence[str]
) -> tuple[list[_Text], list[_Found]]:
    """The prompt and the replies that can be rendered, and what is wrong with the others."""
    texts: list[_Text] = []
    found: list[_Found] = []
    prompt_text = ""
    names = [name for name in response_names(row.dimensions) if name in responses]
    for name in (_PROMPT, *names):
        content = row.prompt if name == _PROMPT else row.response(name)
        if content is None:
            continue
        try:
            if name == _PROMPT:
                text = prompt_text = template.prompt_text(content)
            else:
                text = template.reply_text(row.prompt, prompt_text, content)
            texts.append(_placed(name, row.prompt, content, prompt_text, text, template))
        except SpelledToken as error:
            found.append((name, error.expected, error.found))
        except ValueError as error:
            found.append((name, "a text that the chat template takes", str(error)))
        if not texts:
            break  # without a prompt there are no replies
    return texts, found


def _placed(
    name: str, prompt: str, content: str, prompt_text: str, text: str, template: ChatTemplate
) -> _Text:
    """A rendered text with what it is tokenised after; with its ids if it spells special tokens."""
    start, end = ("", "") if name == _PROMPT else (template.context, template.end_text)
    spells = template.special.search(content) is not None
    if name != _PROMPT and not template.context:
        start = prompt_text
        spells = spells or template.special.search(prompt) is not None
    made = _Text(name, content, start + text + end)
    if not spells:
        return made
    part = "prompt" if name == _PROMPT else "reply"
    return replace(made, ids=encode_literally(template, part, content, text, start))


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
    texts: Sequence[_Text], shares: Sequence[float], found: list[_Found]
) -> RowTokens | list[_Found]:
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
