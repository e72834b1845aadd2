"""Tokenised examples: one by one, and many as flat arrays that may lie on disk."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

ABSENT = -1
"""Length of a response that an example does not have."""


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


@dataclass(frozen=True, eq=False)
class ExampleTable(Sequence[TokenizedExample]):
    """Examples as flat arrays; each is made when it is asked for.

    Attributes:
      ids: (token,) int32: of each example the prompt, golden and the rejects that it has.
      lengths: (example, 2 + K) int32: tokens of prompt, golden and each reject; `ABSENT` where
        there is none.
      indices: (example,) int64, `TokenizedExample.index`.
    """

    ids: np.ndarray
    lengths: np.ndarray
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, at: int) -> TokenizedExample: ...

    @overload
    def __getitem__(self, at: slice) -> list[TokenizedExample]: ...

    def __getitem__(self, at: int | slice) -> TokenizedExample | list[TokenizedExample]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        at = range(len(self))[at]
        start, pieces = int(self._starts[at]), []
        for length in self.lengths[at].tolist():
            pieces.append(None if length == ABSENT else self.ids[start : start + length])
            start += max(length, 0)
        return TokenizedExample(pieces[0], tuple(pieces[1:]), int(self.indices[at]))

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        """(example,) where its ids begin."""
        tokens = np.maximum(self.lengths, 0).sum(axis=1, dtype=np.int64)
        return np.cumsum(tokens) - tokens


def table_of(examples: Sequence[TokenizedExample], responses: int) -> ExampleTable:
    """Returns examples as flat arrays.

    Args:
      examples: the examples.
      responses: places for responses of each, 1 + K.
    """
    pieces = [p for example in examples for p in (example.prompt, *example.responses)]
    return ExampleTable(
        np.concatenate([np.zeros(0, np.int32), *(p for p in pieces if p is not None)]),
        _lengths(examples).reshape(len(examples), 1 + responses),
        np.array([example.index for example in examples], np.int64),
    )


def lengths_of(examples: Sequence[TokenizedExample]) -> np.ndarray:
    """Returns (example, 2 + K) int32, as `ExampleTable.lengths`.

    Raises:
      ValueError: the examples have different numbers of responses.
    """
    if isinstance(examples, ExampleTable):
        return examples.lengths
    found = sorted({len(example.responses) for example in examples})
    if len(found) != 1:
        raise ValueError(
            f"examples: expected one number of responses (1 + dimensions), found {found}"
        )
    return _lengths(examples)


def _lengths(examples: Sequence[TokenizedExample]) -> np.ndarray:
    return np.array(
        [
            [len(e.prompt), *(ABSENT if ids is None else len(ids) for ids in e.responses)]
            for e in examples
        ],
        np.int32,
    )
