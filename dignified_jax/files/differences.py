"""Differences between two records of the same kind, in lines for a person."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

_ABSENT = "(absent)"


def differences(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    ignored: Container[str] = (),
    prefix: str = "",
) -> list[str]:
    """A line for every field that differs, fields of sections as "section.field".

    Args:
      before, now: JSON objects.
      ignored: whole names of fields, and of sections, that are not compared.
      prefix: of the names.
    """
    changes = []
    for key in sorted({*before, *now}):
        name = prefix + key
        if name in ignored:
            continue
        old, new = before.get(key, _ABSENT), now.get(key, _ABSENT)
        if isinstance(old, dict) and isinstance(new, dict):
            changes += differences(old, new, ignored, name + ".")
        elif old != new:
            changes.append(f"{name}: {_shown(old)} there, {_shown(new)} now")
    return changes


def _shown(value: object) -> str:
    bare = isinstance(value, str) and value and value == value.strip()
    return value if bare else repr(value)
