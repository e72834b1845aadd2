"""How far reading a checkpoint is, by the bytes that TensorStore counts below Orbax."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import jax
import tensorstore

from dignified_jax.files import store

_METRICS = "/tensorstore/kvstore/"
_NAME = "bytes_read"


def watched(directory: str | store.Directory) -> Callable[[], tuple[int, int] | None]:
    """Begins to watch, and returns a function that says how many bytes have been read since.

    Args:
      directory: of what will be read. One that is no directory here, as in a bucket, is not
        watched.

    Returns:
      A function without arguments; it gives (bytes read, bytes of the directory that are a
      process's share), or None where they are not counted.
    """
    local = not store.is_url(directory)
    files = [file for file in pathlib.Path(directory).rglob("*") if file.is_file()] if local else []
    total = sum(file.stat().st_size for file in files) // jax.process_count()
    begun = _bytes_read()

    def read() -> tuple[int, int] | None:
        now = _bytes_read()
        return None if begun is None or now is None or not total else (now - begun, total)

    return read


def _bytes_read() -> int | None:
    """Returns the bytes from all stores of this process; None where TensorStore does not tell."""
    collect = getattr(tensorstore, "experimental_collect_matching_metrics", None)
    if collect is None:
        return None
    found = [metric for metric in collect(_METRICS) if metric["name"].endswith(_NAME)]
    return sum(int(value["value"]) for metric in found for value in metric["values"])
