"""A digest of JSON values, by which files and calls say what they were made of."""

from __future__ import annotations

import hashlib
import json


def digest(content: object) -> str:
    """16 hexadecimal digits of a JSON value (SHA-256)."""
    text = json.dumps(content, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
