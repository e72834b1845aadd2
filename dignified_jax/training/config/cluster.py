"""Section `cluster`: how the processes of a run find each other."""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated

from dignified_jax.typed_config import Bounds, ConfigError, Count, check_bounds


@dataclasses.dataclass(frozen=True)
class ClusterConfig:
    """How the processes of a distributed run find each other, where no cluster says it.

    Attributes:
      coordinator: HOST:PORT of the first process; None takes JAX_COORDINATOR_ADDRESS or asks the
        cluster.
      processes: how many there are; None takes JAX_NUM_PROCESSES or asks the cluster.
      process: number of this one, from 0; None takes JAX_PROCESS_ID or asks the cluster.
    """

    coordinator: str | None = None
    processes: Count | None = None
    process: Annotated[int, Bounds("[0, 1048576]")] | None = None

    def __post_init__(self) -> None:
        check_bounds(self, "cluster.")
        if self.coordinator is not None and not re.fullmatch(r".+:\d{1,5}", self.coordinator):
            raise ConfigError(
                f"cluster.coordinator must be HOST:PORT, found {self.coordinator!r}",
                "cluster.coordinator",
            )
        if None not in (self.processes, self.process) and self.process >= self.processes:
            raise ConfigError(
                f"cluster.process must be less than cluster.processes ({self.processes}), found "
                f"{self.process}",
                "cluster.process",
            )
