"""A process for each candidate, so that its peak memory is its own, and what the two sides say."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import pathlib
import re
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from dignified_jax.data import PackedBatch, TokenizedExample

BETA = 0.1
LEARNING_RATE = 5e-7
READY = "ready"
CLIP_NORM = 1.0


@dataclasses.dataclass(frozen=True)
class Job:
    """What a candidate is to time.

    Attributes:
      serve: `(connection, job)`, run in the process: send READY once prepared, then for every
        number n received time n steps and send `Timings`, until None comes.
      checkpoint: a Hugging Face directory.
      examples: the batch; for TRL one example a pair.
      gpu: on the GPU in bfloat16, else on the CPU in float32.
      remat: recompute layers in the backward pass.
      warmup: steps before the first n, not reported.
      build: rows of the batch, for JAX.
      rows_per_step: rows of an accumulation step, None for all; for JAX.
      lora_rank: of LoRA beside all matrices of the layers; None trains the whole model.
    """

    serve: Callable[[Connection, Job], None]
    checkpoint: str
    examples: list[TokenizedExample]
    gpu: bool
    remat: bool
    warmup: int
    build: Callable[[list[TokenizedExample]], PackedBatch] | None = None
    rows_per_step: int | None = None
    lora_rank: int | None = None


@dataclasses.dataclass(frozen=True)
class Timings:
    """Seconds of steps and of passes of the reference, each from host arrays to a finished result.

    Attributes:
      step: of each step with the reference's log-probs given.
      reference: of each computation of those.
      peak_bytes: most memory so far: of the process on CPU, of the device on GPU.
      device: its name, None on CPU.
      log_probs: of the reference, of existing responses in order, golden first.
    """

    step: list[float]
    reference: list[float]
    peak_bytes: int
    device: str | None
    log_probs: np.ndarray


def peak_resident_bytes() -> int:
    """Most memory that this process ever held (Linux).

    Not `getrusage`, whose maximum starts from that of the process which started this one.
    """
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1))


class Worker:
    """The process of a job."""

    def __init__(self, job: Job) -> None:
        context: Any = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=job.serve, args=(theirs, job), daemon=True)
        self._process.start()
        theirs.close()

    def wait(self) -> None:
        """Until the process is prepared, and leaves the processor to others, or has died."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            self._connection.recv()

    def measure(self, steps: int) -> Timings | None:
        """Timings of `steps` steps, after `wait`; None if the process has died.

        It has then told why on its standard error, unless it was killed: see `death`.
        """
        try:
            self._connection.send(steps)
            return self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return None

    def death(self) -> str:
        """What a process that has died left behind."""
        self._process.join()
        code = self._process.exitcode
        killed = " (killed, maybe for want of memory)" if code == -signal.SIGKILL else ""
        return f"died with exit code {code}{killed}"

    def stop(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has died before
            self._connection.send(None)
        self._process.join()
