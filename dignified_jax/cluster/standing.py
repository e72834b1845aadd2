"""Where each process stands, and which one keeps the others waiting: no clock, no sockets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

Kind = Literal["step", "between", "long", "job", "idle"]
"""How a process may stand: in a "step" with all others, "between" two of them, in something "long"
that takes as long as it takes, at a "job" of its own, or "idle" until there is one."""
_APART = ("job", "idle")
PATIENCE = 10
"""Something long or a job may take so many timeouts; a step so many of the longest so far."""


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a process said that it stands.

    Attributes:
      host: name of its machine.
      place: in words, such as "step 7".
      kind: of the place.
      ticks: places it has been at, the same number at the same place in every process.
      since: when it came there, in seconds of the clock of `now`.
      heard: when it last said so.
    """

    host: str
    place: str
    kind: Kind
    ticks: int
    since: float
    heard: float


@dataclasses.dataclass(frozen=True)
class Straggler:
    """A process that the others wait for.

    Attributes:
      process: its number; None where nobody can say which it is.
      reason: a line that names process, host and place.
      ends: whether this ends the job; else it is only told.
    """

    process: int | None
    reason: str
    ends: bool


def named(process: int, standing: Standing | None) -> str:
    """Returns "process 1 on HOST", or the number alone where nothing else is known."""
    return f"process {process}" + (f" on {standing.host}" if standing else "")


def find_straggler(
    standings: Mapping[int, Standing], now: float, timeout: float, longest_step: float | None = None
) -> Straggler | None:
    """Returns the process that keeps the others waiting for longer than `timeout` seconds.

    Args:
      standings: of the processes that are still there, by number.
      now: seconds.
      timeout: seconds.
      longest_step: seconds of the longest step so far; None before the first.
    """
    return (
        _frozen(standings, now, timeout)
        or _behind(standings, now, timeout)
        or _stuck(standings, now, timeout, longest_step)
    )


def _frozen(standings: Mapping[int, Standing], now: float, timeout: float) -> Straggler | None:
    """One that no longer says anything: its heartbeats have a thread of their own."""
    process = min(standings, key=lambda number: standings[number].heard, default=None)
    if process is None or (silent := now - standings[process].heard) <= timeout:
        return None
    standing = standings[process]
    reason = (
        f"{named(process, standing)} is missing: nothing was heard of it for {silent:.0f} s (it is "
        f"frozen, or its machine or network hangs); it stood at: {standing.place}"
    )
    return Straggler(process, reason, True)


def _behind(standings: Mapping[int, Standing], now: float, timeout: float) -> Straggler | None:
    """One that has not come to where others have been waiting."""
    walking = {number: one for number, one in standings.items() if one.kind not in _APART}
    if not walking:
        return None
    furthest = max(walking.values(), key=lambda one: (one.ticks, one.since))
    process = min(walking, key=lambda number: walking[number].ticks)
    last = walking[process]
    waited = now - max(furthest.since, last.since)
    if last.ticks == furthest.ticks or waited <= timeout:
        return None
    reason = (
        f"{named(process, last)} is missing: it stands at: {last.place}, while the others have "
        f"waited for it at: {furthest.place}, for {waited:.0f} s"
    )
    long = "long" in (last.kind, furthest.kind)
    return Straggler(process, reason, not long or waited > PATIENCE * timeout)


def _stuck(
    standings: Mapping[int, Standing], now: float, timeout: float, longest_step: float | None
) -> Straggler | None:
    """A step that all have begun and none finishes; or a job that goes nowhere."""
    for number, one in standings.items():
        if one.kind == "job" and now - one.since > PATIENCE * timeout:
            reason = (
                f"{named(number, one)} is missing: it has stood for {now - one.since:.0f} s at: "
                f"{one.place}"
            )
            return Straggler(number, reason, True)
    steps = [one for one in standings.values() if one.kind == "step"]
    if not steps or len(steps) < len(standings):
        return None
    waited = now - max(one.since for one in steps)
    if waited <= max(timeout, PATIENCE * (timeout if longest_step is None else longest_step)):
        return None
    hosts = ", ".join(sorted({one.host for one in steps}))
    reason = (
        f"no process has finished {steps[0].place} for {waited:.0f} s, and all have begun it: a "
        f"device, or the network between devices, hangs ({hosts})"
    )
    return Straggler(None, reason, True)
