"""An aborted process whose other threads have something to say first."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, threading, time
from dignified_jax.cluster import last_words

def say():
    time.sleep({late})
    os.write(1, b"why")
    os._exit(3)

with last_words.heard({wait}):
    pass  # and as it was, after
with last_words.heard({wait}):
    threading.Thread(target=say, daemon=True).start()
    ctypes.CDLL(None).abort()  # without Python's lock, as a thread of C++ does
"""


@pytest.mark.parametrize(
    ("wait", "late", "status", "said"), [(20, 0.05, 3, "why"), (0.05, 20, -signal.SIGABRT, "")]
)
def test_an_abort_waits_for_them_and_not_for_long(wait, late, status, said):
    program = [sys.executable, "-c", PROGRAM.format(wait=wait, late=late)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (status, said), done.stderr
