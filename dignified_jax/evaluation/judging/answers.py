"""A judge's answer, one JSON object of items, read strictly: what is not plain is missing.

An answer may stand in a code fence or in prose, if it holds one object with items alone. A value
counts if it is the number 0 or 1. All else (another number, a text, a key that stands twice) is no
score, and never a 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from dignified_jax.data.schema import shorten
from dignified_jax.evaluation.judging.judgments import Verdict

LONGEST_ANSWER = 64 * 1024
"""Characters; an object of twelve items takes about a hundred."""

MOST_STARTS = 200  # places where an object may begin


class _Twice:
    """The value of a key that stands twice."""

    def __repr__(self) -> str:
        return "the key twice"


def read_answer(text: str, items: Sequence[str]) -> dict[str, Verdict]:
    """Reads a verdict on every item; without a score, and with a reason, where there is none.

    Args:
      text: the judge's whole answer.
      items: the names of the items that it was asked about.
    """
    found, reason = _find(text, items)
    if found is None:
        return {item: Verdict(None, reason=reason) for item in items}
    return {item: _verdict(found, item) for item in items}


def _verdict(found: Mapping[str, object], item: str) -> Verdict:
    if item not in found:
        return Verdict(None, reason="the object lacks the item")
    value = found[item]
    if type(value) is int and value in (0, 1):
        return Verdict(value)
    return Verdict(None, reason=f"expected 0 or 1, found {shorten(value, 30)}")


def _find(text: str, items: Sequence[str]) -> tuple[Mapping[str, object] | None, str]:
    """The one object with items, or why there is none."""
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
        if isinstance(value, dict) and set(items) & set(value):
            objects.append(value)
        at = text.find("{", end)
    if at >= 0:
        return None, f"more than {MOST_STARTS} opening brackets"
    if not objects:
        return None, "no JSON object with an item"
    if len(objects) > 1:
        return None, f"{len(objects)} JSON objects with items"
    return objects[0], ""


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        found[key] = _Twice() if key in found else value
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs)
