"""Items that the first process of a job deals out as it comes by them; it has the results in order.

Unlike `team.share`, neither items nor results are ever held all at once.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from dignified_jax.cluster import members

Shared = Mapping[str, Any]
"""JSON values that go before the items."""
Work = Callable[[Shared, Iterator[Any]], Iterator[Any]]
"""Takes what is shared and items as they come, as JSON values; yields the result of each, in order,
as JSON values."""
Item = TypeVar("Item")
Result = TypeVar("Result")

_JOB, _ITEM, _RESULT, _DONE, _OVER = "job", "item", "result", "done", "over"


def serve(works: Mapping[str, Work]) -> None:
    """Works for the first process until that says `over`; in all processes but that one.

    Args:
      works: by name.
    """
    member = members.current()

    def received(waiting: str) -> Mapping[str, Any]:
        members.again(waiting, "idle")
        return member.inbox.get()[1]

    def items(name: str) -> Iterator[Any]:
        while (message := received(f"waiting for more to do: {name}"))["kind"] == _ITEM:
            members.again(name, "job")
            yield message["item"]

    while (message := received("waiting for something to do"))["kind"] == _JOB:
        name = message["work"]
        for result in works[name](message["shared"], items(name)):
            member.wire.send(0, _RESULT, result=result)


def over() -> None:
    """Lets the others leave `serve`; in the first process."""
    members.current().wire.tell(_OVER)


def deal(
    name: str,
    shared: Shared,
    items: Iterable[Item],
    ahead: int,
    describe: Callable[[Item], Any],
    own: Callable[[Iterator[Item]], Iterator[Result]],
    read: Callable[[Any], Result],
) -> Iterator[Result]:
    """Yields the result of each item, in order; in the first process, while the others `serve`.

    Of n processes, process p does items p, p + n, and so on.

    Args:
      name: of the work of the others.
      shared: goes before the items.
      items: taken as they are dealt.
      ahead: items that a process is dealt before its first result is waited for; at least as many
        as a work or `own` takes before it yields.
      describe: gives an item as JSON.
      own: does this process's share, in order.
      read: makes a result of what another's work yields.
    """
    member = members.current()
    source, count = enumerate(items), member.count
    mine: collections.deque[Item] = collections.deque()
    arrived = {process: collections.deque() for process in range(1, count)}
    dealt, all_dealt = 0, False
    member.wire.tell(_JOB, work=name, shared=dict(shared))

    def deal_until(number: int) -> None:
        nonlocal dealt, all_dealt
        while dealt < number and not all_dealt:
            for at, item in itertools.islice(source, 1):
                if process := at % count:
                    member.wire.send(process, _ITEM, item=describe(item))
                else:
                    mine.append(item)
                break
            else:
                all_dealt = True
                member.wire.tell(_DONE)
                return
            dealt += 1

    def own_items() -> Iterator[Item]:
        while True:
            while not mine and not all_dealt:
                deal_until(dealt + 1)
            if not mine:
                return
            yield mine.popleft()

    def result_of(process: int) -> Any:
        while not arrived[process]:
            sender, message = member.inbox.get()
            arrived[sender].append(message["result"])
        return arrived[process].popleft()

    own_results = own(own_items())
    for taken in itertools.count():
        deal_until(taken + 1 + ahead * count)
        if taken == dealt:
            return
        process = taken % count
        yield read(result_of(process)) if process else next(own_results)
        members.again(name, "job")
