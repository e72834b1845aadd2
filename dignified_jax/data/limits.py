"""Policies for examples that are longer than a limit: error, truncate or drop.

"truncate" shortens the prompt: a conversation loses its oldest exchanges, the last user's text its
beginning. It drops an example that is too long even with one token of that text left: its responses
alone exceed the limit, and cutting those would change what is compared.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dignified_jax.data.chat.borders import common_length
from dignified_jax.data.chat.row_tokens import RowTokens
from dignified_jax.data.schema import PreferenceRow, first_lines
from dignified_jax.data.schema.conversation import messages_of, shortened
from dignified_jax.data.template import ChatTemplate

_BYTES_A_CHARACTER = 4  # in UTF-8, at most
Retokenize = Callable[[PreferenceRow], RowTokens | list[tuple[str, str, str]]]
_POLICIES = ("error", "truncate", "drop")


@dataclass(frozen=True)
class Limits:
    """The limits of `encode`, checked.

    Attributes:
      max_length: most tokens of the prompt and any one response, or None.
      row_length: most tokens of the prompt and all responses, or None.
      on_too_long: "error", "truncate" or "drop".
    """

    max_length: int | None
    row_length: int | None
    on_too_long: str

    def __post_init__(self) -> None:
        for name in ("max_length", "row_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected a positive number or None, found {value!r}")
        if self.on_too_long not in _POLICIES:
            raise ValueError(
                f"on_too_long: expected one of {_POLICIES}, found {self.on_too_long!r}"
            )

    def excess(self, prompt: int, responses: Sequence[int]) -> tuple[int, str]:
        """(tokens over the tighter limit, 0 if none; what is too long, in words)."""
        worst = (0, "")
        for name, length in (
            ("max_length", prompt + max(responses, default=0)),
            ("row_length", prompt + sum(responses)),
        ):
            limit = getattr(self, name)
            if limit is not None and length - limit > worst[0]:
                worst = (length - limit, f"{length} tokens, {name} {limit}")
        return worst


@dataclass(frozen=True)
class Limited:
    """Examples after the limits, by their position.

    Attributes:
      kept: position -> token ids.
      truncated, dropped: positions.
      too_long: with "error", a line on each example beyond a limit.
    """

    kept: dict[int, RowTokens]
    truncated: tuple[int, ...]
    dropped: tuple[int, ...]
    too_long: tuple[str, ...]


def apply_limits(
    rows: Sequence[PreferenceRow],
    tokens: Sequence[RowTokens],
    places: Sequence[str],
    template: ChatTemplate,
    limits: Limits,
    retokenize: Retokenize,
) -> Limited:
    """Applies a policy to every example.

    Args:
      rows: the rows.
      tokens: of each row.
      places: file and row of each, for messages.
      template: tells the user's tokens from the template's.
      limits: the limits and the policy.
      retokenize: a row to its tokens, for conversations that lose turns.
    """
    kept: dict[int, RowTokens] = {}
    truncated: list[int] = []
    dropped: list[int] = []
    too_long: list[str] = []
    for index, (row, whole) in enumerate(zip(rows, tokens, strict=True)):
        excess, what = _excess(whole, limits)
        if not excess:
            kept[index] = whole
        elif limits.on_too_long == "drop":
            dropped.append(index)
        elif limits.on_too_long == "error":
            too_long.append(f"{places[index]}: {what}")
        else:
            cut = _truncate(row, whole, template, limits, retokenize)
            if cut is None:
                dropped.append(index)
            else:
                kept[index] = cut
                truncated.append(index)
    return Limited(kept, tuple(truncated), tuple(dropped), tuple(too_long))


def too_long_error(lines: Sequence[str]) -> ValueError:
    """Returns the error of examples beyond a limit, which lists the first of them."""
    cure = "raise the limit or use on_too_long='truncate' or 'drop'"
    head = f"{len(lines)} examples are too long; {cure}:"
    return ValueError("\n".join([head, *first_lines(lines)]))


def _excess(tokens: RowTokens, limits: Limits) -> tuple[int, str]:
    return limits.excess(len(tokens.prompt), [len(ids) for ids in tokens.responses.values()])


def _fits(tokens: RowTokens | object, limits: Limits) -> bool:
    """Returns whether a row's tokens are within the limits, or it has none to look at."""
    return not isinstance(tokens, RowTokens) or not _excess(tokens, limits)[0]


def _truncate(
    row: PreferenceRow,
    tokens: RowTokens,
    template: ChatTemplate,
    limits: Limits,
    retokenize: Retokenize,
) -> RowTokens | None:
    """A row's tokens within the limits; None where even one token of the user's is too many.

    The oldest exchanges go first, then the last user's text is cut from the left.
    """
    shorter = [replace(row, prompt=prompt) for prompt in shortened(row.prompt)]
    if shorter:
        tokenized = functools.cache(lambda number: retokenize(shorter[number]))
        # The more exchanges go, the fewer tokens are left.
        least = bisect.bisect_left(
            range(len(shorter) - 1), True, key=lambda number: _fits(tokenized(number), limits)
        )
        row, found = shorter[least], tokenized(least)
        if not isinstance(found, RowTokens):
            return None
        if _fits(found, limits):
            return found
        tokens = found
    messages = messages_of(row.prompt)
    try:
        _, around = template.pieces(messages, [len(messages) - 1])
    except ValueError:  # the template shows that turn in several places: none can be cut
        return None
    first, last = _user_span(tokens.prompt, *template.ids(around))
    start = _character_start(tokens.prompt, first + _excess(tokens, limits)[0], last, template)
    if start >= last:
        return None
    return replace(tokens, prompt=np.concatenate([tokens.prompt[:first], tokens.prompt[start:]]))


def _character_start(prompt: np.ndarray, start: int, last: int, template: ChatTemplate) -> int:
    """The first position from `start` on at which no character is under way.

    A byte-level token may end inside a character, whose later bytes mean nothing by themselves.
    """
    for skipped in range(_BYTES_A_CHARACTER):
        following = prompt[start + skipped : start + skipped + _BYTES_A_CHARACTER + 1]
        if not template.tokenizer.decode(following).startswith("\ufffd"):
            return start + skipped
    return start  # the text's own replacement characters


def _user_span(prompt: np.ndarray, head: Sequence[int], tail: Sequence[int]) -> tuple[int, int]:
    """[first, last) of the user's tokens.

    A token merged over the border, such as a template's newline and the user's, belongs to
    the user's text: the head kept is the longest one that the prompt truly begins with.
    """
    first = common_length(prompt, head)
    last = len(prompt) - common_length(prompt[first:][::-1], tail[::-1])
    return first, last
