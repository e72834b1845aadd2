"""Processes of a machine by their numbers: which live, and where such numbers mean the same."""

from __future__ import annotations

import os
import pathlib
import secrets
import socket


def alive(process: int) -> bool:
    """Returns whether another process has this number; ours was given to an earlier one before."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return process > 0  # 0 means this process's own group


def machine() -> str:
    """Names where numbers of processes mean the same: a machine since it started, or a container.

    The same as no other name where the system does not tell.
    """
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"unknown {secrets.token_hex(8)}"
