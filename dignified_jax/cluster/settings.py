"""Section `distributed`: how the processes of a job find each other, and how long they wait."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Annotated, Any

from dignified_jax.typed_config import Bounds, ConfigError, Count, check_bounds

_FORMER = "cluster"
"""Section of earlier versions, beside a field `distributed` that was true or false."""
_LARGEST_PORT = 65535


@dataclasses.dataclass(frozen=True)
class DistributedConfig:
    """How the processes of a job find each other, and how long one may keep the others waiting.

    Attributes:
      enabled: whether this is one of several processes, as the environment or the cluster says; a
        field below that is set says so too. `distributed=True` is short for it.
      coordinator: HOST:PORT of the first process; None takes JAX_COORDINATOR_ADDRESS or asks the
        cluster.
      processes: how many there are; None takes JAX_NUM_PROCESSES or asks the cluster.
      process: number of this one, from 0; None takes JAX_PROCESS_ID or asks the cluster.
      timeout: seconds that a process may be frozen, or stand still in mid-run while the others wait
        for it, before all of them end.
      join_timeout: seconds that the processes wait for each other in the beginning.
    """

    enabled: bool = False
    coordinator: str | None = None
    processes: Count | None = None
    process: Annotated[int, Bounds("[0, 1048576]")] | None = None
    timeout: Annotated[int, Bounds("[1, 86400]")] = 120
    join_timeout: Annotated[int, Bounds("[1, 86400]")] = 300

    def __post_init__(self) -> None:
        check_bounds(self, "distributed.")
        if self.coordinator is not None:
            check_coordinator(self.coordinator, "distributed.coordinator")
        if None not in (self.processes, self.process) and self.process >= self.processes:
            raise ConfigError(
                f"distributed.process must be less than distributed.processes ({self.processes}), "
                f"found {self.process}",
                "distributed.process",
            )

    @property
    def joins(self) -> bool:
        """Says that there are other processes to join."""
        return self.enabled or (self.coordinator, self.processes, self.process) != (None,) * 3


def check_coordinator(text: str, name: str) -> None:
    """Raises ConfigError, which names where it was given, for what is not HOST:PORT."""
    match = re.fullmatch(r".+:([0-9]{1,5})", text)
    if match is None or int(match[1]) > _LARGEST_PORT:
        raise ConfigError(
            f"{name} must be HOST:PORT, found {text!r}; a port is at most {_LARGEST_PORT}", name
        )


def upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns fields of a configuration in today's form.

    Earlier versions had `distributed` as true or false, and a section `cluster` beside it.
    """
    fields = dict(values)
    given, former = fields.pop("distributed", None), fields.pop(_FORMER, None)
    if given is None and former is None:
        return fields
    section = dict(given) if isinstance(given, Mapping) else {}
    if given is not None and not isinstance(given, Mapping):
        section["enabled"] = given
    if former is not None and not isinstance(former, Mapping):
        raise ConfigError(f"{_FORMER} must be a section of fields, found {former!r}", _FORMER)
    return {**fields, "distributed": {**(former or {}), **section}}


def upgraded_lines(lines: Mapping[str, int]) -> dict[str, int]:
    """Returns the lines of a file's fields under the names that `upgraded` gives them."""
    found = dict(lines)
    for name, line in lines.items():
        if name == "distributed":
            found["distributed.enabled"] = line
        section, _, field = name.partition(".")
        if section == _FORMER and field:
            found[f"distributed.{field}"] = line
    return found
