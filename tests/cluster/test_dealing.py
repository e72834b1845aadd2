"""Items that are dealt out: the results of all in order, however many, by whom they fall to."""

import itertools
import queue
import threading
import types

import pytest

from dignified_jax.cluster import dealing

TAKEN = 4  # items that a work takes before it yields


class Wires:
    """Members in threads of this process, whose messages go straight into the others' inboxes."""

    def __init__(self, count):
        self._here = threading.local()
        inboxes = [queue.SimpleQueue() for _ in range(count)]

        def wire(process):
            def send(to, kind, **content):
                inboxes[to].put((process, {"kind": kind, **content}))

            def tell(kind, **content):
                for to in set(range(count)) - {process}:
                    send(to, kind, **content)

            return types.SimpleNamespace(send=send, tell=tell)

        self._members = [
            types.SimpleNamespace(index=p, count=count, inbox=inboxes[p], wire=wire(p))
            for p in range(count)
        ]

    def be(self, process):
        self._here.member = self._members[process]

    def current(self):
        return self._here.member


def works(done, process):
    """A work that looks ahead as processes of one's own do, and says what it did."""

    def work(shared, items):
        taken = list(itertools.islice(items, TAKEN))
        while taken:
            item = taken.pop(0)
            taken += itertools.islice(items, 1)
            done[process].append(item)
            yield item * shared["by"]

    return work


@pytest.mark.parametrize(("count", "items"), [(2, 0), (2, 1), (3, 2), (3, 7), (2, 40), (4, 41)])
def test_each_does_its_share_and_results_come_in_order(count, items, monkeypatch):
    wires, done = Wires(count), {process: [] for process in range(count)}
    monkeypatch.setattr(dealing.members, "current", wires.current)
    monkeypatch.setattr(dealing.members, "again", lambda place, kind: None)

    def serve(process):
        wires.be(process)
        work = works(done, process)
        dealing.serve({"twice": work, "thrice": work})

    threads = [threading.Thread(target=serve, args=(p,), daemon=True) for p in range(1, count)]
    for thread in threads:
        thread.start()
    wires.be(0)
    asked = []

    def source():
        for item in range(items):
            asked.append(item)
            yield item

    for name, by in (("twice", 2), ("thrice", 3)):
        asked.clear()
        results = []
        for result in dealing.deal(
            name,
            {"by": by},
            source(),
            ahead=TAKEN,
            describe=lambda item: item,
            own=lambda own, by=by: works(done, 0)({"by": by}, own),
            read=lambda result: result,
        ):
            results.append(result)
            # Never the whole set, however long it is.
            assert len(asked) <= len(results) + (TAKEN + 1) * count
        assert results == [by * item for item in range(items)]
    dealing.over()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    for process, mine in done.items():
        assert mine == 2 * list(range(process, items, count))
