"""A judge's answer, one JSON object of items, read strictly: what is not plain is missing.

An answer may stand in a code fence or in prose, if it holds one object with items alone. A value
counts if it is the number 0 or 1. All else (another number, a text, a key that stands twice) is no
score, and never a 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dignified_jax.data.schema import shorten
from dignified_jax.endpoints.json_answer import find_object
from dignified_jax.evaluation.judging.judgments import Verdict


def read_answer(text: str, items: Sequence[str]) -> dict[str, Verdict]:
    """Reads a verdict on every item; without a score, and with a reason, where there is none.

    Args:
      text: the judge's whole answer.
      items: the names of the items that it was asked about.
    """
    found, reason = find_object(text, items, "item")
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
