"""Jobs shared by processes: results in order, and what a process can't do is done here."""

import functools
import operator
import os
import signal

import pytest

from dignified_jax.data.store import workers


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_the_order_of_items(count):
    doubled = functools.partial(operator.mul, 2)
    assert list(workers.map_in_order(doubled, iter(range(50)), count)) == list(range(0, 100, 2))


def test_work_is_done_in_other_processes():
    numbers = set(workers.map_in_order(_process, range(8), 2))
    assert os.getpid() not in numbers and 1 <= len(numbers) <= 2


def test_an_error_is_raised_here_after_the_results_before_it():
    results = workers.map_in_order(operator.truediv.__call__, [], 2)
    assert list(results) == []
    results = workers.map_in_order(functools.partial(operator.floordiv, 12), [3, 4, 0, 6], 2)
    assert [next(results), next(results)] == [4, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_items_of_a_process_that_dies_are_done_here():
    mine = os.getpid()
    found = list(workers.map_in_order(functools.partial(_dies_elsewhere, mine), range(6), 2))
    assert found == [(mine, item) for item in range(6)]


def test_what_cannot_be_pickled_is_done_here():
    here = []
    assert list(workers.map_in_order(lambda item: here.append(item), [1, 2], 4)) == [None, None]
    assert here == [1, 2]


def test_processes_end_with_the_last_result_or_the_one_who_waits(monkeypatch):
    made = []
    started = workers.subprocess.Popen

    def popen(*arguments, **options):
        made.append(started(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(workers.subprocess, "Popen", popen)
    assert len(list(workers.map_in_order(abs, range(5), 2))) == 5
    results = workers.map_in_order(abs, range(100), 2)
    next(results)
    results.close()  # as an interrupt does
    assert len(made) == 4 and all(process.poll() is not None for process in made)


def test_what_cannot_be_started_is_done_here(monkeypatch):
    started, made = workers.subprocess.Popen, []

    def popen(*arguments, **options):
        if len(made) == most:
            raise OSError(11, "Resource temporarily unavailable")
        made.append(started(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(workers.subprocess, "Popen", popen)
    for most in (0, 1):
        assert list(workers.map_in_order(abs, range(-5, 0), 3)) == [5, 4, 3, 2, 1]
        assert len(made) == most


def test_one_process_a_core_and_none_for_few_items(monkeypatch):
    monkeypatch.setattr(workers, "_cores", lambda: 6)
    assert [workers.available(n, 1000) for n in (0, 1999, 2000, 5000, 10**9)] == [1, 1, 2, 5, 6]


def _process(item):
    return os.getpid()


def _dies_elsewhere(mine, item):
    if os.getpid() != mine:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid(), item
