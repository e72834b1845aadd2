"""How far sampling is: responses, tokens a second, time left."""

from __future__ import annotations

import time
from collections.abc import Callable

from dignified_jax.console.progress_line import ProgressLine, duration


class SamplingProgress:
    """Counts, and shows them in a line."""

    def __init__(
        self,
        total: int,
        most_tokens: int,
        line: ProgressLine | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
          total: responses to come.
          most_tokens: of each.
          line: to show them in.
          clock: seconds.
        """
        self._total, self._most = total, most_tokens
        self._line, self._clock = line or ProgressLine(), clock
        self._done = self._done_tokens = self._sampled = 0
        self._begun = clock()
        # What came before is mostly compilation, and no measure of the rest.
        self._first: tuple[float, int] | None = None
        self._line.show(self.text)

    def sampled(self, tokens: int) -> None:
        """Takes the number of tokens sampled so far."""
        self._sampled = tokens
        if self._first is None:
            self._first = (self._clock(), tokens)
        self._line.show(self.text)

    def finished(self, tokens: int) -> None:
        """Counts a response of so many tokens."""
        self._done += 1
        self._done_tokens += tokens
        self._line.show(self.text)

    def close(self) -> None:
        """Shows the line a last time."""
        self._line.show(self.text, last=True)

    def text(self) -> str:
        """Returns the line."""
        parts = [f"{self._done} of {self._total} responses"]
        speed = self._speed()
        if self._sampled:
            parts.append(f"{self._sampled} tokens")
        if speed is not None:
            parts.append(f"{speed:.0f} tokens/s")
        if self._done < self._total:
            mean = self._done_tokens / self._done if self._done else self._most
            left = max(mean * self._total - self._sampled, 0.0)
            parts.append("starting" if speed is None else f"about {duration(left / speed)} left")
        else:
            parts.append(duration(self._clock() - self._begun))
        return ", ".join(parts)

    def _speed(self) -> float | None:
        """Tokens a second since the first were there; None before there are any more."""
        if self._first is None:
            return None
        at, tokens = self._first
        passed = self._clock() - at
        return (self._sampled - tokens) / passed if passed > 0 and self._sampled > tokens else None
