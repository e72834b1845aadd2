"""The memory that this machine has, to refuse in a line what would not fit."""

from __future__ import annotations

import os

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def machine_bytes() -> int | None:
    """Main memory in bytes; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def in_units(amount: float) -> str:
    """Bytes in the largest unit of at least one, as 7.3 TiB."""
    place = 0
    while amount >= 1024 and place < len(UNITS) - 1:
        amount, place = amount / 1024, place + 1
    return f"{amount:.0f} bytes" if place == 0 else f"{amount:.1f} {UNITS[place]}"


def refuse_beyond_memory(what: str, needed: float, cure: str = "", most: int | None = None) -> None:
    """Raises ValueError, in one line, if `needed` bytes exceed the memory (or `most`)."""
    most = machine_bytes() if most is None else most
    if most is not None and needed > most:
        raise ValueError(
            f"{what}: about {in_units(needed)} of memory needed, {in_units(most)} there"
            + (f". {cure}" if cure else "")
        )
