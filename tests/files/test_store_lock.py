"""One process at a time in a directory of a store, whoever is killed, frozen or cut off."""

import json
import os
import subprocess
import threading

import pytest

from dignified_jax.files import process, store, store_lock
from dignified_jax.files.lock import BusyError

pytestmark = pytest.mark.wiring

SOON = {"beat_seconds": 0.02, "stale_seconds": 0.5}


def written(url):
    return json.loads((store.place(url) / store_lock.FILE).read_text())


def leave(url, **fields):
    """A lock as a holder of another machine left it."""
    content = {"holder": "process 7 on other", "machine": "other", "process": 7, **fields}
    (store.place(url) / store_lock.FILE).write_text(json.dumps(content))


def test_a_second_run_is_refused_by_name_and_comes_in_after_the_first(url):
    lines = []
    with store_lock.held(url, pytest.fail, **SOON):
        holder = written(url)["holder"]
        assert holder.startswith(f"process {os.getpid()} on ")
        with pytest.raises(BusyError) as caught:
            store_lock.held(url, lines.append, **SOON).__enter__()
        assert str(caught.value) == (
            f"{url}: another run is writing here ({holder}); wait for it, or choose another "
            "directory"
        )
    assert len(lines) == 1 and "looking for up to 0.5 s whether it lives" in lines[0]
    assert written(url)["holder"] == "none"
    with store_lock.held(url, pytest.fail, **SOON):
        pass


def test_one_of_another_machine_that_is_silent_is_taken_over_and_told(url):
    lines = []
    with store_lock.held(url, pytest.fail, beat_seconds=60, stale_seconds=0.5) as frozen:
        token = written(url)["token"]
        leave(url, token=token)  # the same, seen from elsewhere
        with store_lock.held(url, lines.append, **SOON) as second:
            assert lines[1] == f"{url}: process 7 on other is gone; its lock is taken over"
            with pytest.raises(BusyError, match="another run took the directory over"):
                frozen.confirm()
            second.confirm()  # the frozen one wrote nothing
    assert written(url)["holder"] == "none"


def test_one_that_was_killed_here_is_not_waited_for(url):
    gone = subprocess.Popen(["true"])
    gone.wait()
    for number in (gone.pid, os.getpid()):  # a container's first process has the same number again
        leave(url, machine=process.machine(), process=number)
        with store_lock.held(url, pytest.fail, **SOON):
            assert written(url)["process"] == os.getpid()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"holder": null}'])
def test_a_damaged_lock_is_free(url, content):
    (store.place(url) / store_lock.FILE).write_text(content)
    with store_lock.held(url, pytest.fail, **SOON):
        pass


def test_of_many_at_once_one_comes_in(url):
    """All find the same silent lock, and write on the same condition."""
    leave(url)
    inside, most, refused = [], [], []
    leave_now = threading.Event()

    def enter(number):
        try:
            with store_lock.held(url, lambda line: None, **SOON):
                inside.append(number)
                most.append(len(inside))
                leave_now.wait(20)
                inside.remove(number)
        except BusyError:
            refused.append(number)
            if len(refused) == 4:
                leave_now.set()

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, len(refused)) == ([1], 4)


def test_a_store_that_writes_on_no_condition_is_noted(url, monkeypatch):
    """As some that speak S3's protocol, which overwrite whatever is there."""
    import tensorstore

    opened = tensorstore.KvStore.open

    class Unconditional:
        def __init__(self, spec):
            self._inner = opened(spec).result()
            self.read = self._inner.read

        def write(self, key, value, if_equal):
            del if_equal
            return self._inner.write(key, value)

        def result(self, timeout):
            return self

    monkeypatch.setattr(tensorstore.KvStore, "open", Unconditional)
    lines = []
    with store_lock.held(url, lines.append, **SOON):
        assert lines == [
            f"{url}: its store writes on no condition; start no second run here at once"
        ]
        with pytest.raises(BusyError):  # a beat is seen all the same
            store_lock.held(url, lambda line: None, **SOON).__enter__()
