"""The live display of a run, or plain lines where nothing can be redrawn.

    with progress.open(total_steps, start_step) as bar:
        bar.notify("a notice")
        bar.step(flat_metrics)

In a terminal two lines are redrawn in place, and everything printed meanwhile appears above them.
In a notebook one output is updated. Elsewhere (a pipe, a file, a dumb terminal) a table grows, by
a line a step in short runs and by a line every `SECONDS_BETWEEN_LINES` in long ones. Output that
fails never stops a run.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from dignified_jax.console.safe_stream import SafeStream
from dignified_jax.console.waiting import ShowCount, describe
from dignified_jax.data import DIMENSIONS
from dignified_jax.training.display import status_text

# Runs of at most so many steps print each of them to a pipe.
STEPS_ALL_SHOWN = 100
SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_NOTEBOOK_UPDATES = 0.5
_HEADER_EVERY = 50


@contextlib.contextmanager
def open(
    total_steps: int,
    start_step: int = 0,
    *,
    dimensions: Sequence[str] = DIMENSIONS,
    visible: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:
    """The display of a run that has done `start_step` of `total_steps` optimiser steps.

    Args:
      total_steps, start_step: see above.
      dimensions: of the run.
      visible: False shows nothing; for all processes but one.
      clock: seconds.
    """
    status = _Status(total_steps, start_step, clock, dimensions)
    screen = _screen(status, clock) if visible else _Nowhere()
    try:
        yield Progress(status, screen)
    finally:
        screen.close()


class Progress:
    """Made by `open`."""

    def __init__(self, status: _Status, screen: _Screen) -> None:
        self._status = status
        self._screen = screen

    def notify(self, text: str) -> None:
        """Prints a notice, above the live display if there is one."""
        self._screen.notify(text)

    def step(self, flat: Mapping[str, float]) -> None:
        """Shows a step's flat metrics; "step", the steps done, must be among them."""
        self._status.update(flat)
        self._screen.show()

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[ShowCount]:
        """Shows what the run does between steps, such as an evaluation.

        Yields:
          A function to tell how many parts of it are done, and how many there are.
        """
        count = self._status.begin(what)

        def show(done: int, total: int) -> None:
            count(done, total)
            self._screen.show_doing()

        try:
            yield show
        finally:
            self._status.doing = ""


class _Status:
    """The state of the run: its step, clock and last metrics."""

    def __init__(
        self, total: int, start: int, clock: Callable[[], float], dimensions: Sequence[str]
    ) -> None:
        self.total, self.step, self.dimensions = total, start, dimensions
        self.flat: Mapping[str, float] = {}
        self.doing = ""  # between steps, in words
        self._clock = clock
        self._opened = self._last = self.begun = clock()
        # Compilation comes before the first step; only what comes after it tells how long the
        # rest will take.
        self._first: tuple[int, float] | None = None

    def update(self, flat: Mapping[str, float]) -> None:
        self.step, self.flat, self._last = int(flat["step"]), flat, self._clock()
        if self._first is None:
            self._first = (self.step, self._last)

    def begin(self, what: str) -> ShowCount:
        """Begins to do something else; what tells how far that is."""
        self.begun, self.doing = self._clock(), what

        def count(done: int, total: int) -> None:
            self.doing = describe(what, (done, total), self._clock() - self.begun, bar=False)

        return count

    def elapsed(self) -> float:
        """Seconds since the display was opened."""
        return self._clock() - self._opened

    def left(self) -> float | None:
        """Seconds to the last step, at the mean pace so far; None: not known yet."""
        if self.step >= self.total:
            return 0.0
        if self._first is None or self.step <= self._first[0]:
            return None
        step, at = self._first
        pace = (self._last - at) / (self.step - step)
        since = self._clock() - self._last
        return max(pace * (self.total - self.step) - since, 0.0)

    def text(self, width: int = status_text.WIDTH) -> str:
        text = status_text.status(
            self.flat,
            self.step,
            self.total,
            elapsed=self.elapsed(),
            left=self.left(),
            width=width,
            dimensions=self.dimensions,
        )
        return f"{text.splitlines()[0]}\n{self.doing}" if self.doing else text


class _Screen(Protocol):
    """The place that the display goes to."""

    def notify(self, text: str) -> None: ...

    def show(self) -> None: ...

    def show_doing(self) -> None: ...

    def close(self) -> None: ...


def _screen(status: _Status, clock: Callable[[], float]) -> _Screen:
    if status.step >= status.total:  # nothing will move
        return _Lines(status, SafeStream(sys.stdout), clock)
    # Notebooks have a kernel, terminals have none; IPython is loaded in either if anywhere.
    ipython = sys.modules.get("IPython")
    if ipython is not None and hasattr(ipython.get_ipython(), "kernel"):
        return _Notebook(status, clock)
    stream = SafeStream(sys.stdout)
    if stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb"):
        return _Terminal(status, stream)
    return _Lines(status, stream, clock)


class _Nowhere:
    def notify(self, text: str) -> None:
        pass

    def show(self) -> None:
        pass

    def show_doing(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Lines:
    """A table that grows."""

    def __init__(self, status: _Status, stream: SafeStream, clock: Callable[[], float]) -> None:
        self._status, self._stream, self._clock = status, stream, clock
        self._all = status.total - status.step <= STEPS_ALL_SHOWN
        self._shown = 0
        self._next = clock()
        self._doing_shown = self._next
        if status.step < status.total:
            self.notify(status_text.COMPILING)

    def notify(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def show(self) -> None:
        status, now = self._status, self._clock()
        if not (self._all or now >= self._next or status.step >= status.total):
            return
        self._next = now + SECONDS_BETWEEN_LINES
        if self._shown % _HEADER_EVERY == 0:
            self.notify(status_text.table_header(status.flat, status.dimensions))
        self._shown += 1
        left, names = status.left(), status.dimensions
        self.notify(status_text.table_line(status.flat, status.total, left, names))

    def show_doing(self) -> None:
        now = self._clock()
        if now - max(self._doing_shown, self._status.begun) >= SECONDS_BETWEEN_LINES:
            self._doing_shown = now
            self.notify(self._status.doing)

    def close(self) -> None:
        pass


class _Terminal:
    """Two lines redrawn twice a second, so that the clock also moves during a long step."""

    def __init__(self, status: _Status, stream: SafeStream) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        # What the stream is has been decided; environment variables have no say any more.
        self._console = Console(file=stream, force_terminal=True, force_jupyter=False)

        def render() -> Text:
            text = status.text(min(status_text.WIDTH, self._console.width))
            return Text(text, no_wrap=True, overflow="crop")

        self._live = Live(console=self._console, get_renderable=render, refresh_per_second=2)
        self._live.start(refresh=True)
        # Rich hides the cursor; a killed run would leave the terminal without one.
        self._console.show_cursor(True)

    def notify(self, text: str) -> None:
        self._console.out(text, highlight=False)

    def show(self) -> None:
        pass

    def show_doing(self) -> None:
        pass

    def close(self) -> None:
        self._live.stop()


class _Notebook:
    """One output, updated in place; needs no widgets."""

    def __init__(self, status: _Status, clock: Callable[[], float]) -> None:
        from IPython.display import display

        self._status, self._clock, self._next = status, clock, clock()
        self._handle = display(self._bundle(), raw=True, display_id=True)

    def notify(self, text: str) -> None:
        print(text, flush=True)

    def show(self) -> None:
        now = self._clock()
        if now >= self._next or self._status.step >= self._status.total:
            self._next = now + SECONDS_BETWEEN_NOTEBOOK_UPDATES
            self._handle.update(self._bundle(), raw=True)

    def show_doing(self) -> None:
        self.show()

    def close(self) -> None:
        self._handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        return {"text/plain": self._status.text()}
