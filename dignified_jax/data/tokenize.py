"""Preference rows to token ids: a prompt, golden and up to one reject a dimension."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dignified_jax.data.limits import Limits, apply_limits
from dignified_jax.data.schema import PreferenceRow, dimensions_of, response_names
from dignified_jax.data.special_tokens import encode_literally
from dignified_jax.data.template import ChatTemplate, load_template

_TEXTS_A_CALL = 4096  # enough for the tokenizer's threads, without all texts twice in memory


@dataclass(frozen=True)
class TokenizedExample:
    """Token ids of one row.

    Attributes:
      prompt: (tokens,) int32, up to where the reply begins.
      responses: 1 + K of (tokens,) int32 or None, golden and the reject of each of K dimensions
        (`schema.response_names`); each is the reply's content and the end-of-turn token, nothing
        after it.
      index: position of the row in the list that was encoded.

    Raises:
      ValueError: the prompt is empty (nothing would predict a first token), or there is no
        place for golden and a reject.
    """

    prompt: np.ndarray
    responses: tuple[np.ndarray | None, ...]
    index: int

    def __post_init__(self) -> None:
        if not len(self.prompt):
            raise ValueError(f"example {self.index}: expected a prompt, found no tokens")
        if len(self.responses) < 2:
            raise ValueError(
                f"example {self.index}: expected golden and one reject a dimension (None for an "
                f"inactive one), found {len(self.responses)} responses"
            )

    @property
    def length(self) -> int:
        """Tokens of the packed example: the prompt and all responses."""
        return len(self.prompt) + sum(self.response_lengths)

    @property
    def response_lengths(self) -> list[int]:
        """Tokens of each response that exists, in order."""
        return [len(response) for response in self.responses if response is not None]


@dataclass(frozen=True)
class EncodingReport:
    """What `encode` did.

    Attributes:
      examples: number of examples returned.
      truncated_indices, dropped_indices: positions of the rows cut and left out.
    """

    examples: int
    truncated_indices: tuple[int, ...] = ()
    dropped_indices: tuple[int, ...] = ()

    @property
    def truncated(self) -> int:
        """Number of examples whose prompt was cut."""
        return len(self.truncated_indices)

    @property
    def dropped(self) -> int:
        """Number of examples left out."""
        return len(self.dropped_indices)


def encode(
    rows: Sequence[PreferenceRow],
    tokenizer: Any,
    *,
    max_length: int | None = None,
    row_length: int | None = None,
    on_too_long: str = "error",
    responses: Sequence[str] | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> tuple[list[TokenizedExample], EncodingReport]:
    """Renders rows with the tokenizer's chat template and tokenise them.

    Prompt and responses are tokenised apart, so that every response of an example continues
    the very same prompt tokens. Texts that spell a special token stay plain text.

    Args:
      rows: the rows to encode.
      tokenizer: a transformers tokenizer with a chat template.
      max_length: most tokens of the prompt and any one response; None for no limit.
      row_length: most tokens of the prompt and all its responses; None for no limit.
      on_too_long: what to do beyond a limit: "error", "truncate" (cut the user's text from
        the left, keeping what the template puts before it; drop the example when its responses
        alone are too long) or "drop".
      responses: which of "golden" and the rows' dimensions to encode where a row has them; the
        others are None. By default all.
      chat_template_kwargs: extra arguments for the chat template.

    Returns:
      (examples in the order of `rows`, report of what was cut or dropped).

    Raises:
      ValueError: contradictory arguments; rows of different sets of dimensions; a chat template
        that can't be used (the message says why); a text that the template or tokenizer can't
        keep (names row and field); examples beyond a limit (all of them, by position in `rows`).
    """
    slots_of_row = response_names(dimensions_of(rows))
    responses = slots_of_row if responses is None else responses
    _check_responses(responses, slots_of_row)
    limits = Limits(max_length, row_length, on_too_long)
    template = load_template(tokenizer, chat_template_kwargs)
    texts: list[str] = []
    literal: dict[int, np.ndarray] = {}  # texts encoded one by one, by position in `texts`
    slots: list[tuple[int, int]] = []  # (row, -1 for the prompt or the response's number)
    for index, row in enumerate(rows):
        for slot, text, ids in _row_texts(row, index, template, responses):
            if ids is not None:
                literal[len(texts)] = ids
            texts.append(text)
            slots.append((index, slot))
    encoded = _encode_texts(texts, tokenizer, literal)
    prompts: list[np.ndarray] = []
    replies: list[list[np.ndarray | None]] = []
    for (index, slot), ids in zip(slots, encoded, strict=True):
        if slot < 0:
            prompts.append(ids)
            replies.append([None] * len(slots_of_row))
        else:
            replies[index][slot] = np.append(ids, np.int32(template.end_of_turn))
    return _limited(prompts, replies, template, limits)


def _row_texts(
    row: PreferenceRow, index: int, template: ChatTemplate, responses: Sequence[str]
) -> Iterator[tuple[int, str, np.ndarray | None]]:
    """(slot, text, ids or None to encode the text as it is) of the prompt, then the replies."""
    field = "prompt"
    try:
        prompt_text = template.prompt_text(row.prompt)
        yield -1, prompt_text, _literal_ids(template, "prompt", row.prompt, prompt_text)
        for slot, field in enumerate(response_names(row.dimensions)):
            reply = row.response(field) if field in responses else None
            if reply is not None:
                text = template.reply_text(row.prompt, prompt_text, reply)
                yield slot, text, _literal_ids(template, "reply", reply, text)
    except ValueError as error:
        name = field if field in ("prompt", "golden") else f"reject_{field}"
        raise ValueError(f"rows[{index}].{name}: {error}") from error


def _literal_ids(template: ChatTemplate, part: str, content: str, text: str) -> np.ndarray | None:
    if template.special.search(content) is None:
        return None
    return np.asarray(encode_literally(template, part, content, text), np.int32)


def _encode_texts(
    texts: Sequence[str], tokenizer: Any, literal: Mapping[int, np.ndarray]
) -> Iterator[np.ndarray]:
    for start in range(0, len(texts), _TEXTS_A_CALL):
        batch = list(texts[start : start + _TEXTS_A_CALL])
        encoded = tokenizer(
            batch, add_special_tokens=False, split_special_tokens=False, verbose=False
        )
        for offset, ids in enumerate(encoded["input_ids"], start):
            yield literal.get(offset, np.asarray(ids, np.int32))


def _limited(
    prompts: Sequence[np.ndarray],
    replies: Sequence[Sequence[np.ndarray | None]],
    template: ChatTemplate,
    limits: Limits,
) -> tuple[list[TokenizedExample], EncodingReport]:
    lengths = [[len(reply) for reply in of_row if reply is not None] for of_row in replies]
    kept, truncated, dropped = apply_limits(prompts, lengths, template, limits)
    examples = [
        TokenizedExample(prompt, tuple(replies[index]), index) for index, prompt in kept.items()
    ]
    return examples, EncodingReport(len(examples), truncated, dropped)


def _check_responses(responses: Sequence[str], slots: Sequence[str]) -> None:
    known = not isinstance(responses, str) and all(name in slots for name in responses)
    if not known or not responses or len(set(responses)) < len(responses):
        raise ValueError(f"responses: expected distinct names out of {slots}, found {responses!r}")
