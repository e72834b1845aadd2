"""Preference rows to token ids: a prompt, golden and up to one reject a dimension."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dignified_jax.data.chat.row_tokens import RowTokens, problems_of, tokenize_rows
from dignified_jax.data.chat.text_loss import TextLoss
from dignified_jax.data.limits import Limits, Retokenize, apply_limits
from dignified_jax.data.schema import (
    BadRowsError,
    PreferenceRow,
    RowProblem,
    dimensions_of,
    response_names,
)
from dignified_jax.data.template import ChatTemplate, load_template

_ROWS_A_CALL = 1024  # enough for the tokenizer's threads, without all texts twice in memory


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
    """Numbers and positions of the examples that `encode` returned, cut and dropped.

    Attributes:
      examples: number of examples returned.
      truncated_indices, dropped_indices: positions of the rows cut and left out as too long.
      rejected: position of each bad row -> its problems; with `on_bad_row="skip"` only.
      lossy_indices: positions of rows of whose characters the tokenizer loses up to 1%.
    """

    examples: int
    truncated_indices: tuple[int, ...] = ()
    dropped_indices: tuple[int, ...] = ()
    rejected: Mapping[int, Sequence[RowProblem]] = field(default_factory=dict)
    lossy_indices: tuple[int, ...] = ()

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
    template: ChatTemplate | None = None,
    on_bad_row: str = "error",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[TokenizedExample], EncodingReport]:
    """Renders rows with the tokenizer's chat template and tokenise them.

    Every response continues the very same prompt tokens, and prompt and response have the ids of
    the whole conversation. Texts that spell a special token stay plain text.

    Args:
      rows: the rows to encode.
      tokenizer: a transformers tokenizer with a chat template.
      max_length: most tokens of the prompt and any one response; None for no limit.
      row_length: most tokens of the prompt and all its responses; None for no limit.
      on_too_long: what to do beyond a limit: "error", "truncate" (leave the oldest exchanges of a
        conversation out, then cut the last user's text from the left, keeping what the template
        puts before it; drop the example when its responses alone are too long) or "drop".
      responses: which of "golden" and the rows' dimensions to encode where a row has them; the
        others are None. By default all.
      chat_template_kwargs: extra arguments for the chat template.
      template: the tokenizer's chat template, where it is loaded already (`load_template`); takes
        the place of `chat_template_kwargs`.
      on_bad_row: what to do with rows that template or tokenizer can't keep: "error", or "skip"
        to leave them out and report them.
      progress: called with the rows done and all rows, again and again.

    Returns:
      (examples in the order of `rows`, report of what was cut, dropped or rejected).

    Raises:
      BadRowsError: texts that the template alters or refuses, or that the tokenizer can't write
        or can't tell from the prompt; names file, row and column of each.
      ValueError: contradictory arguments; rows of different sets of dimensions; a chat template
        that can't be used (the message says why); examples beyond a limit, by file and row.
    """
    names = response_names(dimensions_of(rows))
    responses = names if responses is None else responses
    _check_responses(responses, names)
    if on_bad_row not in ("error", "skip"):
        raise ValueError(f"on_bad_row: expected 'error' or 'skip', found {on_bad_row!r}")
    limits = Limits(max_length, row_length, on_too_long)
    template = template or load_template(tokenizer, chat_template_kwargs)
    loss = TextLoss(tokenizer)
    good: dict[int, RowTokens] = {}
    rejected: dict[int, list[RowProblem]] = {}
    for start in range(0, len(rows), _ROWS_A_CALL):
        chunk = rows[start : start + _ROWS_A_CALL]
        for index, tokens in enumerate(tokenize_rows(chunk, template, responses, loss), start):
            if isinstance(tokens, RowTokens):
                good[index] = tokens
            else:
                rejected[index] = problems_of(rows[index], index, tokens)
        if progress is not None:
            progress(start + len(chunk), len(rows))
    if rejected and on_bad_row == "error":
        raise BadRowsError(problem for problems in rejected.values() for problem in problems)

    def retokenize(row: PreferenceRow) -> RowTokens | list[tuple[str, str, str]]:
        return tokenize_rows([row], template, responses, loss)[0]

    examples, report = _limited(rows, good, names, template, limits, retokenize)
    lossy = tuple(index for index, tokens in good.items() if tokens.lossy)
    return examples, replace(report, rejected=rejected, lossy_indices=lossy)


def _limited(
    rows: Sequence[PreferenceRow],
    tokens: Mapping[int, RowTokens],
    names: Sequence[str],
    template: ChatTemplate,
    limits: Limits,
    retokenize: Retokenize,
) -> tuple[list[TokenizedExample], EncodingReport]:
    """The examples within the limits, by position in `rows`; which were cut, and left out."""
    indices = list(tokens)
    kept, truncated, dropped = apply_limits(
        [rows[index] for index in indices],
        [tokens[index] for index in indices],
        [":".join(map(str, filter(None, rows[index].place(index)))) for index in indices],
        template,
        limits,
        retokenize,
    )
    examples = [
        TokenizedExample(found.prompt, tuple(map(found.responses.get, names)), indices[at])
        for at, found in kept.items()
    ]
    cut, left = (tuple(indices[at] for at in which) for which in (truncated, dropped))
    return examples, EncodingReport(len(examples), cut, left)


def _check_responses(responses: Sequence[str], slots: Sequence[str]) -> None:
    known = not isinstance(responses, str) and all(name in slots for name in responses)
    if not known or not responses or len(set(responses)) < len(responses):
        raise ValueError(f"responses: expected distinct names out of {slots}, found {responses!r}")
