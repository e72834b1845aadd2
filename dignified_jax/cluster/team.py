"""Work that the first process of a job shares with the others: it alone reads, writes and shows.

The first process sends each of the others its share of the items, with all that a share needs, and
yields their results as they come; the others wait for jobs and know nothing else of the command.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from dignified_jax.cluster import members

Shared = Mapping[str, Any]
"""JSON values that all shares of a job need."""
Work = Callable[[Shared, list[Any]], Iterator[Any]]
"""Takes what is shared and some items, as JSON values; yields results, as JSON values."""
Item = TypeVar("Item")
Result = TypeVar("Result")

_JOB, _RESULT, _DONE, _OVER = "job", "result", "done", "over"


def serve(works: Mapping[str, Work]) -> None:
    """Works for the first process until that has no more jobs; in all processes but that one.

    Args:
      works: by name.
    """
    member = members.current()
    while True:
        members.at("waiting for a job", "idle")
        _, message = member.inbox.get()
        if message["kind"] == _OVER:
            return
        name = message["work"]
        members.at(name, "job")
        for result in works[name](message["shared"], message["items"]):
            member.wire.send(0, _RESULT, result=result)
            members.at(name, "job")
        member.wire.send(0, _DONE)


@contextlib.contextmanager
def led() -> Iterator[None]:
    """Has the others at work inside, and lets them end after; in the first process, or alone."""
    member = members.current()
    if member is None:
        yield
        return
    members.at("the first process's own work", "idle")
    yield
    member.wire.tell(_OVER)


def share(
    name: str,
    shared: Shared,
    items: Sequence[Item],
    describe: Callable[[Item], Any],
    own: Callable[[list[Item]], Iterator[Result]],
    read: Callable[[Any], Result],
) -> Iterator[Result]:
    """Yields the results of all items: of this process's share, and those that others send.

    Alone, or in a process that is not the first, all items are this one's.

    Args:
      name: of the work of the others, as in `serve`.
      shared: for all shares.
      items: of the job; dealt out one by one, so that neighbours of like length are spread.
      describe: gives an item as JSON.
      own: does this process's share; not called without any.
      read: makes a result of what another's work yields.
    """
    member = members.current()
    count = 1 if member is None or member.index else member.count
    mine = list(items[::count])
    waiting = set()
    for process in range(1, min(count, len(items))):
        described = [describe(item) for item in items[process::count]]
        member.wire.send(process, _JOB, work=name, shared=dict(shared), items=described)
        waiting.add(process)

    def arrived(block: bool) -> Iterator[Result]:
        while waiting and (block or not member.inbox.empty()):
            process, message = member.inbox.get()
            if message["kind"] == _DONE:
                waiting.discard(process)
            else:
                yield read(message["result"])

    for result in own(mine) if mine else ():
        members.at(name, "job")
        yield result
        yield from arrived(block=False)
    members.at("waiting for the others", "idle")
    yield from arrived(block=True)
