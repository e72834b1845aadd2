"""The text of a file, as UTF-8 bytes: expanded if it is compressed with gzip."""

import codecs
import gzip
import zlib
from pathlib import Path

from dignified_jax.data.sources.expansion import RECORD_BYTES, Expansion

_GZIP = b"\x1f\x8b"


def read_text(name: str, path: Path) -> bytes:
    """Returns a file's text, whether or not its name tells that it is compressed.

    UTF-16, which office programs write, becomes UTF-8; other bytes stay as they are.

    Raises:
      ValueError: compressed data that is cut or damaged, or that expands too far.
    """
    data = path.read_bytes()
    if data.startswith(_GZIP):
        data = _expanded(name, path)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "surrogatepass").encode("utf-8", "surrogatepass")
    return data


def _expanded(name: str, path: Path) -> bytes:
    expansion = Expansion(name, path)
    try:
        with gzip.open(path) as stream:
            data = stream.read(expansion.most + 1)
    except EOFError as error:
        raise ValueError(f"{name}: gzip data that is cut: it ends before its end mark") from error
    except (OSError, zlib.error) as error:
        raise ValueError(f"{name}: not readable as gzip data: {error}") from error
    expansion.add(len(data), "gzip data")
    lines = data.count(b"\n")
    expansion.add(lines * RECORD_BYTES, f"gzip data of {lines} lines")
    return data
