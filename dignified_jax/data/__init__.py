"""Preference rows to packed batches: reading, checking, tokenising, packing, streaming."""

import importlib
from typing import TYPE_CHECKING

from dignified_jax.data.anchors import READERS, read_anchors
from dignified_jax.data.examples import TokenizedExample
from dignified_jax.data.mixture import Mixture
from dignified_jax.data.rows import (
    DIMENSIONS,
    RESPONSES,
    BadRowsError,
    PreferenceRow,
    read_rows,
    split_validation,
)
from dignified_jax.data.schema import Message
from dignified_jax.data.tokenize import encode

if TYPE_CHECKING:
    from dignified_jax.data.batch import PackedBatch
    from dignified_jax.data.packing import pack
    from dignified_jax.data.stream import BatchStream, share_shape

ANCHOR_KINDS = tuple(READERS)
# These need JAX, which programs that only read rows do without (PEP 562).
_LATE = {
    "PackedBatch": "batch",
    "pack": "packing",
    "BatchStream": "stream",
    "share_shape": "stream",
}

__all__ = [
    "ANCHOR_KINDS",
    "DIMENSIONS",
    "RESPONSES",
    "BadRowsError",
    "BatchStream",
    "Message",
    "Mixture",
    "PackedBatch",
    "PreferenceRow",
    "TokenizedExample",
    "encode",
    "pack",
    "read_anchors",
    "read_rows",
    "share_shape",
    "split_validation",
]


def __getattr__(name: str) -> object:
    """Loads a name that needs JAX when it is first asked for."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
