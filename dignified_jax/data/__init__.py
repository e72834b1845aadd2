"""Preference rows to packed batches: reading, checking, tokenising, packing, streaming."""

from dignified_jax.data.anchors import READERS, read_anchors
from dignified_jax.data.batch import PackedBatch
from dignified_jax.data.packing import pack
from dignified_jax.data.rows import (
    DIMENSIONS,
    RESPONSES,
    BadRowsError,
    PreferenceRow,
    read_rows,
    split_validation,
)
from dignified_jax.data.stream import BatchStream, share_shape
from dignified_jax.data.tokenize import TokenizedExample, encode

ANCHOR_KINDS = tuple(READERS)

__all__ = [
    "ANCHOR_KINDS",
    "DIMENSIONS",
    "RESPONSES",
    "BadRowsError",
    "BatchStream",
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
