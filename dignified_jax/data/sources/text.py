"""The text of a file, as UTF-8 bytes: expanded if it is compressed with gzip."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

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


def text_lines(name: str, path: Path) -> Iterator[bytes]:
    """Yields the lines of a file's text, without their ends; white space at its end is left out.

    Only \\n ends a line: `str.splitlines` would also cut at U+2028 inside a text.

    Raises:
      ValueError: as `read_text`.
    """
    with path.open("rb") as stream:
        head = stream.read(len(codecs.BOM_UTF16))
    if head in (_GZIP, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        yield from _lines(io.BytesIO(read_text(name, path)))
    else:
        with path.open("rb") as stream:  # of any size
            yield from _lines(stream)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    held: list[bytes] = []  # the last line that is not blank, and what came after it
    for number, line in enumerate(stream):
        line = line.removesuffix(b"\n")
        if number == 0:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield from held
            held.clear()
        held.append(line)
    if held and (last := held[0].rstrip()):
        yield last


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
