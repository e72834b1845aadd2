"""Starts a command again and again without importing everything each time: a fork for each start.

Run as a script: prepares, then reads a JSON line {"arguments", "log"} a start and answers with the
process id, and in the end with its exit status. Nothing has started XLA before the forks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


class Starter:
    """A process that starts the evaluation with given arguments; one at a time."""

    def __init__(self, environment, log):
        self._log = log
        command = [sys.executable, "-m", "tests.evaluation.forked_commands"]
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._read() == "ready"

    def _read(self):
        line = self._process.stdout.readline()
        assert line, "the starter is gone"
        return json.loads(line)

    def start(self, arguments):
        """Starts the command and returns its process id."""
        line = json.dumps({"arguments": arguments, "log": str(self._log)})
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._read()

    def status(self):
        """Waits for the end; the exit status, or the signal's number below 0."""
        return self._read()

    def log(self):
        """Everything that the last start has printed so far."""
        return self._log.read_text() if self._log.exists() else ""

    def close(self):
        """Ends the starter."""
        self._process.stdin.close()
        self._process.wait(timeout=30)


def _serve():
    # What takes seconds to import, and starts no thread.
    import inspect_ai  # noqa: F401
    import jax  # noqa: F401
    import plotly  # noqa: F401
    import transformers  # noqa: F401

    from dignified_jax import evaluate
    from dignified_jax.evaluation import chain  # noqa: F401
    from dignified_jax.evaluation.judging import local  # noqa: F401

    def tell(value):
        print(json.dumps(value), flush=True)

    tell("ready")
    for line in sys.stdin:
        wanted = json.loads(line)
        child = os.fork()
        if child == 0:
            log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(log, stream)
            status = 1
            try:
                status = evaluate.main(wanted["arguments"])
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        tell(child)
        tell(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def wait_until(found, alive, seconds=240.0):
    """Waits until `found()`; False where the process ended before, or time ran out."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found():
            return True
        if not alive():
            return False
        time.sleep(0.005)
    return False


if __name__ == "__main__":
    _serve()
