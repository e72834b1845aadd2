"""Model families, one file each; a file put here is found, and `register` takes others.

A file declares ``FAMILY = Family(...)``, see `family.Family`.
"""

from __future__ import annotations

import importlib
import pkgutil

from dignified_jax.models import partition
from dignified_jax.models.config import UnsupportedModelError
from dignified_jax.models.families.family import Family

_FAMILIES: dict[str, Family] = {}


def register(family: Family) -> None:
    """Makes a family known.

    Raises:
      ValueError: another one has its architecture or model_type already.
    """
    for other in _FAMILIES.values():
        if family.architecture == other.architecture or family.model_type == other.model_type:
            raise ValueError(f"{family.architecture} ({family.model_type}) is registered already")
    partition.declare(family.splits)
    _FAMILIES[family.architecture] = family


def known() -> tuple[Family, ...]:
    """All families."""
    return tuple(_FAMILIES.values())


def of(architecture: str) -> Family:
    """The family of an architecture, such as "Qwen3ForCausalLM".

    Raises:
      UnsupportedModelError: there is none of that name.
    """
    if architecture not in _FAMILIES:
        raise UnsupportedModelError(
            f"architecture {architecture!r} is not supported; expected one of "
            f"{', '.join(_FAMILIES)}"
        )
    return _FAMILIES[architecture]


for _module in pkgutil.iter_modules(__path__):
    _found = importlib.import_module(f"{__name__}.{_module.name}")
    if isinstance(_declared := getattr(_found, "FAMILY", None), Family):
        register(_declared)
