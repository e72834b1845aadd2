"""The wire between processes: messages both ways, and the end of one that ends the others."""

import contextlib
import json
import os
import socket
import threading
from typing import ClassVar

import pytest

from dignified_jax.cluster import members, wire
from dignified_jax.cluster.standing import Standing
from dignified_jax.typed_config import ConfigError


class Ended(Exception):
    """Instead of the end of this process."""


@pytest.fixture
def ends(monkeypatch):
    """What a thread would have printed, and that it would have ended the process."""
    said, event = [], threading.Event()
    others = set(threading.enumerate())
    monkeypatch.setattr(wire.os, "write", lambda number, text: said.append(text.decode()))

    def end(status):
        event.set()
        raise Ended

    monkeypatch.setattr(wire.os, "_exit", end)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)

    def wait():
        assert event.wait(10)
        return said

    yield wait
    while Far.made:
        Far.made.pop().die()  # at which the threads end that listen to it
    while begun := set(threading.enumerate()) - others:
        for thread in begun:
            with contextlib.suppress(RuntimeError):  # one that is just being started
                thread.join()
    monkeypatch.undo()
    assert os._exit is not end


class Far:
    """The other end of a connection of a wire, in the hands of the test."""

    made: ClassVar[list] = []

    def __init__(self, near, process):
        one, self._socket = socket.socketpair(socket.AF_UNIX)
        near.add(process, one.makefile("r"), one.makefile("w"))
        one.close()
        self._reader, self._writer = self._socket.makefile("r"), self._socket.makefile("w")
        self.made.append(self)

    def say(self, **message):
        self._writer.write(json.dumps(message) + "\n")
        self._writer.flush()

    def hear(self):
        return json.loads(self._reader.readline())

    def die(self):
        for each in (self._reader, self._writer, self._socket):
            with contextlib.suppress(OSError, ValueError):
                each.close()


def name(process):
    return f"process {process} on host{process} (step 7)"


def place():
    return "step 8"


def test_messages_go_both_ways_and_are_handled_by_kind(ends):
    near, heard, event = wire.Wire(0, name, place), [], threading.Event()

    def handler(process, message):
        heard.append((process, message["number"]))
        if len(heard) == 50:
            event.set()

    near.handle("count", handler)
    far = Far(near, 1)
    for number in range(50):
        far.say(kind="count", number=number)
        near.send(1, "answer", number=number)
    assert event.wait(10) and heard == [(1, number) for number in range(50)]
    assert [far.hear()["number"] for _ in range(50)] == list(range(50))
    near.send(2, "answer", number=0)  # there is none
    far.say(kind="unknown")
    far.say(kind=wire.END, reason=None)


def test_a_lost_process_is_named_with_host_and_step_and_passed_on(ends):
    near = wire.Wire(0, name, place)
    other, dead = Far(near, 2), Far(near, 1)
    dead.die()
    (line,) = ends()
    assert line.startswith("error: process 1 on host1 (step 7) is lost (killed, ")
    assert "while process 0 stood at: step 8; " in line
    assert "the same command goes on from the last checkpoint" in line
    passed = other.hear()
    assert passed["kind"] == wire.END and f"error: {passed['reason']}\n" == line


def test_a_failure_is_told_with_its_reason(ends):
    far = Far(wire.Wire(0, name, place), 1)
    far.say(kind=wire.END, reason="no such file")
    assert ends() == ["error: process 1 on host1 (step 7): no such file\n"]


def test_a_reason_that_was_passed_on_is_told_as_it_is(ends):
    far = Far(wire.Wire(2, name, place), 0)
    far.say(kind=wire.END, reason="process 1 on b: lost", whole=True)
    assert ends() == ["error: process 1 on b: lost\n"]


def test_an_end_without_a_failure_ends_no_other(ends):
    near = wire.Wire(0, name, place)
    far = Far(near, 1)
    far.say(kind=wire.END, reason=None)
    for _ in range(100):
        if not near.connected:
            break
        threading.Event().wait(0.05)
    assert near.connected == []
    near.close(None)  # the other one learns that this one has not been lost either
    assert far.hear() == {"kind": wire.END, "process": 0, "reason": None}


def test_one_that_goes_after_this_one_is_done_is_not_lost(ends):
    near = wire.Wire(0, name, place)
    far = Far(near, 1)
    listeners = [thread for thread in threading.enumerate() if "_listen" in thread.name]
    near.close(None)
    far.die()
    for thread in listeners:
        thread.join(10)
    assert listeners and not any(thread.is_alive() for thread in listeners)


def test_a_reader_that_takes_nothing_keeps_the_end_from_nobody(ends, monkeypatch):
    """One that is frozen holds a send up for ever; the news go to the others all the same."""
    monkeypatch.setattr(wire, "_LAST_WORDS_SECONDS", 0.2)
    near = wire.Wire(0, name, place)
    frozen, other = Far(near, 1), Far(near, 2)
    filling = threading.Thread(target=near.send, args=(1, "x"), kwargs={"text": "a" * 10**7})
    filling.start()
    with pytest.raises(Ended):
        near.end("process 1 on a is missing")
    assert other.hear()["reason"] == "process 1 on a is missing"
    frozen.die()
    filling.join(10)


def test_the_first_process_ends_all_when_one_is_frozen(ends, monkeypatch):
    """Heartbeats come for a while, then no more; a short timeout stands for two minutes."""
    monkeypatch.setattr(members.jax, "process_index", lambda: 0)
    member = members.Member(timeout=0.6)
    far = Far(member.wire, 1)
    member.start()
    for step in range(3):
        member.at(f"step {step}", "step")
        beat = {"host": "b", "place": f"step {step}", "kind_of": "step", "moves": 0}
        far.say(kind="beat", ticks=step + 1, age=0, **beat)
        threading.Event().wait(0.2)
    (line,) = ends()
    assert line.startswith("error: process 1 on b is missing: nothing was heard of it for ")
    assert "it stood at: step 2; the same command goes on" in line
    heard = [far.hear() for _ in range(2)]
    assert {message["kind"] for message in heard} == {"beat"} and heard[0]["host"] == member.host


def test_the_first_report_of_a_place_tells_since_when(monkeypatch):
    monkeypatch.setattr(members.jax, "process_index", lambda: 0)
    clock = iter([0.0, 10.0, 20.0, 30.0, 40.0])
    monkeypatch.setattr(members.time, "monotonic", lambda: next(clock))
    member = members.Member(timeout=60)
    beat = {"host": "b", "place": "step 1", "kind_of": "step", "ticks": 1, "moves": 0}
    member._heard(1, {**beat, "age": 2.0})
    member._heard(1, {**beat, "age": 11.5})
    assert member._others == {1: Standing("b", "step 1", "step", 1, 8.0, 20.0)}
    member._heard(1, {**beat, "ticks": 2, "age": 1.0})
    assert member._others[1].since == 29.0
    member._heard(1, {**beat, "ticks": 2, "moves": 1, "age": 3.0})  # it went on where it is
    assert member._others[1].since == 37.0
    assert member._described(1) == "process 1 on b (step 1)"
    assert member._described(2) == "process 2"


def test_facts_that_differ_from_the_first_ones_are_refused_by_name(ends, monkeypatch):
    monkeypatch.setattr(members.jax, "process_index", lambda: 1)
    member = members.Member(timeout=60)
    far = Far(member.wire, 0)
    for facts in ({"a": 1, "b": [2]}, {"jax": "1", "python": "3"}):
        far.say(kind="facts", facts=facts)
    member.agree("inputs", {"a": 1, "b": (2,)})
    expected = f"process 1 on {member.host} has versions other than process 0: jax: 1 in process 0"
    with pytest.raises(ConfigError, match=f"{expected}, 2 here"):
        member.agree("versions", {"jax": "2", "python": "3"})
    monkeypatch.setattr(members.jax, "process_index", lambda: 0)
    first = members.Member(timeout=60)
    far = Far(first.wire, 1)
    first.agree("inputs", {"a": 1})
    assert far.hear() == {"kind": "facts", "process": 0, "facts": {"a": 1}}
