"""What happens to examples that are longer than a limit: error, truncate or drop.

"truncate" drops an example that is too long even with one token of the user's text left: its
responses alone exceed the limit, and cutting those would change what is compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dignified_jax.data.template import ChatTemplate, common_length

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
    template: ChatTemplate,
    limits: Limits,
) -> tuple[dict[int, np.ndarray], tuple[int, ...], tuple[int, ...]]:
    """Apply a policy to every example.

    Args:
      prompts: (tokens,) int32 of each example.
      responses: the lengths of each example's responses, in tokens.
      template: tells the user's tokens from the template's.
      limits: the limits and the policy.

    Returns:
      (prompt by position, for those kept; positions truncated; positions dropped).

    Raises:
      ValueError: with "error", examples beyond a limit; all of them are listed.
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
            too_long.append(f"rows[{index}]: {what}")
        else:
            first, last = _user_span(prompt, *around)
            if last - first > excess:
                kept[index] = np.concatenate([prompt[:first], prompt[first + excess :]])
                truncated.append(index)
            else:
                dropped.append(index)
    if too_long:
        cure = "raise the limit or use on_too_long='truncate' or 'drop'"
        head = f"{len(too_long)} examples are too long; {cure}:"
        raise ValueError("\n".join([head, *too_long]))
    return kept, tuple(truncated), tuple(dropped)


def _template_ids(template: ChatTemplate) -> tuple[list[int], list[int]]:
    texts = [template.head, template.tail]
    encoded = template.tokenizer(texts, add_special_tokens=False, split_special_tokens=False)
    return encoded["input_ids"][0], encoded["input_ids"][1]


def _user_span(prompt: np.ndarray, head: Sequence[int], tail: Sequence[int]) -> tuple[int, int]:
    """[first, last) of the user's tokens.

    A token merged over the border, such as a template's newline and the user's, belongs to
    the user's text: the head kept is the longest one that the prompt truly begins with.
    """
    first = common_length(prompt, head)
    last = len(prompt) - common_length(prompt[first:][::-1], tail[::-1])
    return first, last
