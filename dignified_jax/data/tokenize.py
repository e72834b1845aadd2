"""Preference rows to token ids: a prompt, golden and up to one reject a dimension."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dignified_jax.data.chat.row_tokens import Found, RowTokens, problems_of, tokenize_rows
from dignified_jax.data.chat.text_loss import TextLoss
from dignified_jax.data.examples import ExampleTable, TokenizedExample, table_of
from dignified_jax.data.limits import Limits, apply_limits, too_long_error
from dignified_jax.data.schema import (
    BadRowsError,
    PreferenceRow,
    RowProblem,
    dimensions_of,
    response_names,
)
from dignified_jax.data.template import ChatTemplate, load_template
from dignified_jax.data.tokenizer import Tokenizer

ROWS_A_CALL = 1024
"""Enough for the tokenizer's threads, without all texts twice in memory."""


@dataclass(frozen=True)
class EncodingReport:
    """Numbers and positions of the examples that `encode` returned, cut and dropped.

    Attributes:
      examples: number of examples returned.
      truncated_indices, dropped_indices: positions of the rows cut and left out as too long.
      rejected: position of each bad row -> its problems; with `on_bad_row="skip"` only. A row of
        pairs of which some are good is an example of these.
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
    tokenizer: Tokenizer,
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
        to leave them out and report them; of a row joined from pairs, those with a bad reject.
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
    if on_bad_row not in ("error", "skip"):
        raise ValueError(f"on_bad_row: expected 'error' or 'skip', found {on_bad_row!r}")
    limits = Limits(max_length, row_length, on_too_long)
    responses = names if responses is None else responses
    _check_responses(responses, names)
    template = template or load_template(tokenizer, chat_template_kwargs)
    encoder = Encoder(template, tuple(responses), limits)
    parts, done = [], 0
    for chunk in chunks_of(rows, ROWS_A_CALL):
        parts.append(encoder(chunk))
        done += len(chunk[1])
        if progress is not None:
            progress(done, len(rows))
    report = report_of(parts, on_bad_row)
    return [example for part in parts for example in part.examples], report


@dataclass(frozen=True)
class EncodedRows:
    """Examples and problems of rows that follow each other; positions are those in the whole list.

    Attributes:
      examples: in the rows' order.
      truncated, dropped, lossy: positions, as in `EncodingReport`.
      rejected: position of each bad row -> its problems.
      too_long: where that is an error, a line on each row beyond a limit.
    """

    examples: ExampleTable
    truncated: tuple[int, ...]
    dropped: tuple[int, ...]
    lossy: tuple[int, ...]
    rejected: Mapping[int, Sequence[RowProblem]]
    too_long: tuple[str, ...]


Chunk = tuple[int, Sequence[PreferenceRow]]
"""The position of the first of some rows, and the rows."""


@dataclass(frozen=True)
class Encoder:
    """All that token ids depend on besides the rows; it can be sent to another process.

    Attributes:
      template: the chat template, with its tokenizer.
      responses: as in `encode`.
      limits: of lengths.
    """

    template: ChatTemplate
    responses: tuple[str, ...]
    limits: Limits

    def __call__(self, chunk: Chunk) -> EncodedRows:
        """Returns what rows become."""
        with _uncollected():
            return self._encode(*chunk)

    def _encode(self, start: int, rows: Sequence[PreferenceRow]) -> EncodedRows:
        names = response_names(rows[0].dimensions)
        good: dict[int, RowTokens] = {}
        kept: dict[int, PreferenceRow] = {}
        rejected: dict[int, list[RowProblem]] = {}
        for at, (row, tokens) in enumerate(zip(rows, self._tokenize(rows), strict=True)):
            if not isinstance(tokens, RowTokens):
                rejected[start + at] = problems_of(row, start + at, tokens)
                row, tokens = self._without_bad_pairs(row, tokens)
            if row is not None:
                kept[at], good[at] = row, tokens
        places = {at: row.place(start + at) for at, row in kept.items()}
        limited = apply_limits(
            list(kept.values()),
            list(good.values()),
            [":".join(map(str, filter(None, place))) for place in places.values()],
            self.template,
            self.limits,
            lambda row: self._tokenize([row])[0],
        )
        position = [start + at for at in good]
        examples = [
            TokenizedExample(found.prompt, tuple(map(found.responses.get, names)), position[at])
            for at, found in limited.kept.items()
        ]
        return EncodedRows(
            table_of(examples, len(names)),
            tuple(position[at] for at in limited.truncated),
            tuple(position[at] for at in limited.dropped),
            tuple(start + at for at, tokens in good.items() if tokens.lossy),
            rejected,
            limited.too_long,
        )

    def identity(self) -> dict[str, Any]:
        """Returns what token ids depend on besides rows and tokenizer, as JSON."""
        return {
            "template": self.template.renderer.identity(),
            "special": self.template.special.pattern,
            "responses": self.responses,
            "limits": asdict(self.limits),
        }

    def _tokenize(self, rows: Sequence[PreferenceRow]) -> list[RowTokens | list[Found]]:
        return tokenize_rows(rows, self.template, self.responses, self._loss)

    def _without_bad_pairs(
        self, row: PreferenceRow, found: Sequence[Found]
    ) -> tuple[PreferenceRow, RowTokens] | tuple[None, None]:
        """Returns what is left of a row of pairs with a good prompt and golden, and its tokens."""
        bad = {name for name, _, _ in found}
        left = [name for name in row.pairs if name not in bad]
        if not bad <= row.pairs.keys() or not set(left) & set(self.responses):
            return None, None
        fields = {
            name: {key: getattr(row, name)[key] for key in left} for name in ("rejects", "pairs")
        }
        row = replace(row, **fields)
        (tokens,) = self._tokenize([row])
        return row, tokens

    @functools.cached_property
    def _loss(self) -> TextLoss:
        return TextLoss(self.template.tokenizer)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Does without the garbage collector, which looks through all lists of ids again and again."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def chunks_of(rows: Iterable[PreferenceRow], together: int = ROWS_A_CALL) -> Iterator[Chunk]:
    """Yields rows, some at a time: by default as many as an `Encoder` takes well."""
    rows = iter(rows)
    for start in itertools.count(0, together):
        chunk = list(itertools.islice(rows, together))
        if not chunk:
            return
        yield start, chunk


def report_of(parts: Iterable[EncodedRows], on_bad_row: str = "error") -> EncodingReport:
    """Returns the report of all rows, from their parts in order.

    Raises:
      BadRowsError: there are bad rows, unless `on_bad_row` is "skip".
      ValueError: there are rows beyond a limit.
    """
    examples = 0
    truncated: list[int] = []
    dropped: list[int] = []
    lossy: list[int] = []
    rejected: dict[int, Sequence[RowProblem]] = {}
    too_long: list[str] = []
    for part in parts:
        examples += len(part.examples)
        truncated += part.truncated
        dropped += part.dropped
        lossy += part.lossy
        rejected |= part.rejected
        too_long += part.too_long
    if rejected and on_bad_row == "error":
        raise BadRowsError(problem for problems in rejected.values() for problem in problems)
    if too_long:
        raise too_long_error(too_long)
    return EncodingReport(examples, tuple(truncated), tuple(dropped), rejected, tuple(lossy))


def _check_responses(responses: Sequence[str], slots: Sequence[str]) -> None:
    known = not isinstance(responses, str) and all(name in slots for name in responses)
    if not known or not responses or len(set(responses)) < len(responses):
        raise ValueError(f"responses: expected distinct names out of {slots}, found {responses!r}")
