"""Policies for examples that are longer than a limit: error, truncate or drop.

"truncate" drops an example that is too long even with one token of the user's text left: its
responses alone exceed the limit, and cutting those would change what is compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dignified_jax.data.schema import first_lines
from dignified_jax.data.template import ChatTemplate, common_length

_BYTES_A_CHARACTER = 4  # in UTF-8, at most
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


def apply_limits(
    prompts: Sequence[np.ndarray],
    responses: Sequence[Sequence[int]],
    places: Sequence[str],
    template: ChatTemplate,
    limits: Limits,
) -> tuple[dict[int, np.ndarray], tuple[int, ...], tuple[int, ...]]:
    """Applies a policy to every example.

    Args:
      prompts: (tokens,) int32 of each example.
      responses: the lengths of each example's responses, in tokens.
      places: file and row of each example, for messages.
      template: tells the user's tokens from the template's.
      limits: the limits and the policy.

    Returns:
      (prompt by position, for those kept; positions truncated; positions dropped).

    Raises:
      ValueError: with "error", examples beyond a limit; the first of them are listed.
    """
    kept: dict[int, np.ndarray] = {}
    truncated: list[int] = []
    dropped: list[int] = []
    too_long: list[str] = []
    around = _template_ids(template) if limits.on_too_long == "truncate" else ([], [])
    for index, (prompt, lengths) in enumerate(zip(prompts, responses, strict=True)):
        excess, what = limits.excess(len(prompt), lengths)
        if not excess:
            kept[index] = prompt
        elif limits.on_too_long == "drop":
            dropped.append(index)
        elif limits.on_too_long == "error":
            too_long.append(f"{places[index]}: {what}")
        else:
            first, last = _user_span(prompt, *around)
            start = _character_start(prompt, first + excess, last, template)
            if start < last:
                kept[index] = np.concatenate([prompt[:first], prompt[start:]])
                truncated.append(index)
            else:
                dropped.append(index)
    if too_long:
        cure = "raise the limit or use on_too_long='truncate' or 'drop'"
        head = f"{len(too_long)} examples are too long; {cure}:"
        raise ValueError("\n".join([head, *first_lines(too_long)]))
    return kept, tuple(truncated), tuple(dropped)


def _character_start(prompt: np.ndarray, start: int, last: int, template: ChatTemplate) -> int:
    """The first position from `start` on at which no character is under way.

    A byte-level token may end inside a character, whose later bytes mean nothing by themselves.
    """
    for skipped in range(_BYTES_A_CHARACTER):
        following = prompt[start + skipped : start + skipped + _BYTES_A_CHARACTER + 1]
        if not template.tokenizer.decode(following).startswith("\ufffd"):
            return start + skipped
    return start  # the text's own replacement characters


def _template_ids(template: ChatTemplate) -> tuple[list[int], list[int]]:
    head, tail = template.ids([template.head, template.tail])
    return head, tail


def _user_span(prompt: np.ndarray, head: Sequence[int], tail: Sequence[int]) -> tuple[int, int]:
    """[first, last) of the user's tokens.

    A token merged over the border, such as a template's newline and the user's, belongs to
    the user's text: the head kept is the longest one that the prompt truly begins with.
    """
    first = common_length(prompt, head)
    last = len(prompt) - common_length(prompt[first:][::-1], tail[::-1])
    return first, last
