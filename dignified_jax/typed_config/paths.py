"""Paths in a configuration or a flag, with "~" as shells mean it, and other types of flags."""

from __future__ import annotations

import argparse
import json
import os
import re
from typing import Annotated, Any

from dignified_jax.typed_config.errors import ConfigError

PATH, PLACE, SOURCE = "path", "place", "source"
Path = Annotated[str, PATH]
"""A path, a hub id, or "embedded:NAME"; "~" is expanded, and a URL refused."""
Place = Annotated[str, PLACE]
"""The same, or the URL of a directory in a bucket."""
SourcePath = Annotated[str, SOURCE]
"""KIND:PATH; a "~" that begins the path is expanded."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
Paths = Path | tuple[Path, ...]
"""One path as text, or a list of at least two; a list of one is that one."""


def expand(text: str, kind: str, key: str) -> str:
    """Returns the text of a path field with its "~" expanded.

    Raises:
      ConfigError: a home directory that is not known, a NUL character, or a URL for a path.
    """
    head, path = "", text
    if kind == SOURCE and _URL.match(text) is None:
        head, colon, path = text.partition(":")
        head += colon
    try:
        return head + (expand_home(path) if kind == PLACE else _here(path))
    except ValueError as error:
        raise ConfigError(f"{key}: {error}", key) from error


def expand_home(path: str) -> str:
    """Returns a path with a leading "~" or "~user" replaced by the home directory.

    Shells do this for words that begin with "~", and so not for `--config.workdir=~/run`.

    Raises:
      ValueError: the home directory is not known, or the path has a NUL character.
    """
    if "\0" in path:
        raise ValueError(f"expected a path, found a NUL character in {path!r}")
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise ValueError(
            f"expected a known home directory, found {path!r}; a file of that name is ./{path}"
        )
    return found


def _here(path: str) -> str:
    """A path with its "~" expanded.

    Raises:
      ValueError: as `expand_home`, or it is a URL.
    """
    if _URL.match(path):
        raise ValueError(
            f"expected a path here, found {path}; mount the bucket, or copy what is wanted"
        )
    return expand_home(path)


def path_argument(text: str) -> str:
    """Reads a path that is not empty, as argparse has its types."""
    return _argument(text, PATH)


def place_argument(text: str) -> str:
    """Reads a path that is not empty, or the URL of a directory in a bucket."""
    return _argument(text, PLACE)


def _argument(text: str, kind: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a path, found an empty text")
    try:
        return expand_home(text) if kind == PLACE else _here(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def count_argument(text: str) -> int:
    """Reads a whole number of at least 1, as argparse has its types."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return int(text)


def object_argument(text: str) -> dict[str, Any]:
    """Reads a JSON object, as argparse has its types."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, found {text!r}")
    return value
