"""Paths in a configuration: "~" as shells mean it, and spellings of one path that are the same."""

from __future__ import annotations

import os
import posixpath
from typing import Annotated

from dignified_jax.typed_config.errors import ConfigError

PATH, SOURCE = "path", "source"
Path = Annotated[str, PATH]
"""A path, a hub id, or "embedded:NAME"; "~" is expanded."""
SourcePath = Annotated[str, SOURCE]
"""KIND:PATH; a "~" that begins the path is expanded."""


def expand(text: str, kind: str, key: str) -> str:
    """Returns the text of a path field with its "~" expanded.

    Raises:
      ConfigError: a home directory that is not known, or a NUL character.
    """
    head, path = "", text
    if kind == SOURCE:
        head, colon, path = text.partition(":")
        head += colon
    try:
        return head + expand_home(path)
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


def same_path(one: str, other: str) -> bool:
    """Says whether two spellings are of one path: "./a//b/" is "a/b". Links are not followed."""
    return _normal(one) == _normal(other)


def _normal(text: str) -> str:
    """A URL, whose "//" means something, stays; ".." stays too, because of links."""
    if not text or "://" in text:
        return text
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return posixpath.join("/" if text.startswith("/") else "", *parts) or "."
