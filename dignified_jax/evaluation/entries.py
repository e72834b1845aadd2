"""Entries of `models` and `judging.judges`, "NAME=REST", and files named after them."""

from __future__ import annotations

import re
import unicodedata

from dignified_jax.data.schema import shorten
from dignified_jax.evaluation.judging.rules import NAMES as RULES
from dignified_jax.files.json_digest import digest
from dignified_jax.typed_config import ConfigError

LOCAL = "local:"
"""Before the path of a model that judges here."""
LONGEST_NAME = 200


def named(entry: str, field: str) -> tuple[str, str]:
    """Splits "NAME=REST"; what has no name of its own is its own name.

    Raises:
      ConfigError: a part is empty, or a model has no name.
    """
    name, equals, rest = entry.partition("=")
    if not equals and field != "models":
        name = rest = entry
    name, rest = name.strip(), rest.strip()
    if not name or not rest:
        raise ConfigError(f"{field}: expected NAME=PATH, found {entry!r}", field)
    if len(name) > LONGEST_NAME or any(unicodedata.category(c) == "Cc" for c in name):
        raise ConfigError(
            f"{field}: expected a name of at most {LONGEST_NAME} characters without line ends and "
            f"the like, found {shorten(name)}",
            field,
        )
    return name, rest


def check_judge(spec: str) -> None:
    """Refuses what is none of the kinds of judges."""
    path = spec.removeprefix(LOCAL)
    if spec in RULES or ("/" in spec if path == spec else path.strip()):
        return
    raise ConfigError(
        f"judging.judges: expected {', '.join(RULES)}, {LOCAL}PATH, or PROVIDER/MODEL of "
        f"inspect_ai, found {spec!r}",
        "judging.judges",
    )


def file_name(label: str, suffix: str) -> str:
    """A name fit for any file system, which tells labels apart."""
    plain = re.sub(r"[^\w.-]+", "-", label, flags=re.ASCII).strip("-.")[:60]
    mark = "" if plain == label else f"-{digest(label)[:6]}"
    return f"{plain or 'model'}{mark}-{suffix}"
