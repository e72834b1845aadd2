"""Which process keeps the others waiting, from where each says that it stands."""

import pytest

from dignified_jax.cluster.standing import Standing, find_straggler

NOW = 1000.0


def at(place, kind, ticks, stands, silent=0.0, host="host"):
    """A standing of a process that has stood for so many seconds, and was silent for so many."""
    return Standing(host, place, kind, ticks, NOW - stands, NOW - silent)


def find(*standings, timeout=120, longest=2.0):
    return find_straggler(dict(enumerate(standings)), NOW, timeout, longest)


STEP_5 = at("step 5", "step", 9, 130)


def test_nothing_is_missing_while_all_come_along():
    slow = at("after step 4", "between", 8, 119)
    assert find(STEP_5, slow) is None
    assert find(at("step 5", "step", 9, 100), at("after step 4", "between", 8, 500)) is None
    assert find() is None
    # All compile, or read, for as long as it takes.
    assert find(at("compiling", "long", 3, 9000), at("compiling", "long", 3, 9000)) is None


def test_one_that_says_nothing_is_frozen_wherever_it_stands():
    for kind in ("step", "between", "long", "job"):
        frozen = at("there", kind, 9, 121, silent=121, host="b")
        missing = find(STEP_5, frozen)
        assert missing.process == 1 and missing.ends
        assert "process 1 on b is missing: nothing was heard of it for 121 s" in missing.reason
        assert missing.reason.endswith("it stood at: there")


def test_one_that_has_not_come_to_the_step_of_the_others_is_named():
    behind = at("after step 4", "between", 8, 131, host="b")
    missing = find(STEP_5, at("step 5", "step", 9, 130), behind, STEP_5)
    assert missing.process == 2 and missing.ends
    assert missing.reason == (
        "process 2 on b is missing: it stands at: after step 4, while the others have waited for "
        "it at: step 5, for 130 s"
    )
    # The one furthest behind holds the others up, also one that is a step behind.
    both = find(STEP_5, at("after step 4", "between", 8, 200), at("step 4", "step", 7, 200))
    assert both.process == 2


def test_something_long_is_told_before_it_ends_the_job():
    compiling = at("compiling", "long", 8, 131)
    told = find(STEP_5, compiling)
    assert (told.process, told.ends) == (1, False)
    ended = find(at("step 5", "step", 9, 1201), at("compiling", "long", 8, 1300))
    assert ended.ends


@pytest.mark.parametrize(
    ("longest", "stands", "missing"),
    [(2.0, 121, True), (60.0, 599, False), (60.0, 601, True), (None, 1199, False), (None, 1201, 1)],
)
def test_a_step_that_nobody_finishes_ends_after_many_of_its_length(longest, stands, missing):
    step = at("step 5", "step", 9, stands)
    found = find(step, step, longest=longest)
    assert (found is not None) == bool(missing)
    if missing:
        assert found.process is None and found.ends
        assert "no process has finished step 5" in found.reason


def test_a_job_may_take_its_time_and_not_for_ever():
    first = at("gathering", "job", 3, 5)
    idle = at("waiting for a job", "idle", 2, 9000)
    assert find(first, at("responses", "job", 7, 1100), idle) is None
    found = find(first, at("responses", "job", 7, 1201, host="b"))
    assert found.process == 1
    assert "process 1 on b is missing: it has stood for 1201 s at: responses" in found.reason
