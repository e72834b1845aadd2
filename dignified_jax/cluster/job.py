"""The way in for commands: joins the processes that a configuration or flags say there are."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator

from dignified_jax.cluster.settings import DistributedConfig
from dignified_jax.typed_config import count_argument


@contextlib.contextmanager
def joined(config: DistributedConfig, *together: type[BaseException]) -> Iterator[None]:
    """Joins the other processes where there are some, and watches them.

    It has to come before anything touches a device.

    Args:
      config: says whether there are some, and where.
      together: as in `members.watched`.

    Raises:
      ConfigError: the others are not found, or this process has other versions than the first one.
    """
    if not config.joins:
        yield
        return
    # Imported late: a process that is alone has no use for them.
    from dignified_jax.cluster import join, members, versions

    connections = join.start(config)
    with members.watched(config.timeout, connections, *together):
        members.agree("versions", versions.here())
        yield


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the fields of `DistributedConfig` as flags."""
    group = parser.add_argument_group("one of several processes, which share the work")
    add = group.add_argument
    add(
        "--distributed",
        action="store_true",
        help="find the others as the environment or the cluster says (a flag below says so too)",
    )
    add("--coordinator", metavar="HOST:PORT", help="of the first process")
    add("--processes", type=count_argument, metavar="N", help="how many there are")
    add("--process", type=int, metavar="I", help="number of this one, from 0")
    add(
        "--process_timeout",
        type=count_argument,
        metavar="SECONDS",
        help="that a process may be frozen before all end; default 120",
    )


def of_arguments(options: argparse.Namespace) -> DistributedConfig:
    """Returns what the flags of `add_arguments` say.

    Raises:
      ConfigError: they make no sense.
    """
    given = {
        **{"enabled": options.distributed, "coordinator": options.coordinator},
        **{"processes": options.processes, "process": options.process},
        "timeout": options.process_timeout,
    }
    return DistributedConfig(**{name: value for name, value in given.items() if value is not None})
