"""The one JSON object of a model's answer, read strictly.

It may stand in a code fence or in prose, if there is no other with the keys that were asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

LONGEST_ANSWER = 64 * 1024
"""Characters; an object of twelve items takes about a hundred, one with a reply a few thousand."""

MOST_STARTS = 200  # places where an object may begin


class Twice:
    """The value of a key that stands twice."""

    def __repr__(self) -> str:
        return "the key twice"


def find_object(
    text: str, keys: Sequence[str], noun: str
) -> tuple[Mapping[str, object] | None, str]:
    """Returns the one object that has any of the keys; or None, and why there is none.

    Args:
      text: the whole answer.
      keys: that were asked for.
      noun: a key in words, for the reason, such as "item".
    """
    if not text.strip():
        return None, "an empty answer"
    if len(text) > LONGEST_ANSWER:
        return None, f"an answer of more than {LONGEST_ANSWER} characters"
    objects, at = [], text.find("{")
    for _ in range(MOST_STARTS):
        if at < 0:
            break
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        if isinstance(value, dict) and set(keys) & set(value):
            objects.append(value)
        at = text.find("{", end)
    if at >= 0:
        return None, f"more than {MOST_STARTS} opening brackets"
    if not objects:
        article = "an" if noun[0] in "aeiou" else "a"
        return None, f"no JSON object with {article} {noun}"
    if len(objects) > 1:
        return None, f"{len(objects)} JSON objects with {noun}s"
    return objects[0], ""


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        found[key] = Twice() if key in found else value
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs)
