"""The line that shows calls being answered, with tokens and cost."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping

from dignified_jax.console.progress_line import ProgressLine, duration
from dignified_jax.construction.spending import Spent

_BAR, _LEAST_BAR = 24, 6  # characters

Total = Callable[[Mapping[str, Spent]], tuple[int, float]]
"""What this batch has spent by model -> tokens and cost of everything."""


class CallProgress:
    """A context in which a batch of calls is answered."""

    def __init__(self, stage: str, calls: int, total: Total) -> None:
        """
        Args:
          stage: in words.
          calls: of the batch, less those that a log has.
          total: see `Total`.
        """
        self._stage, self._calls, self._total = stage, calls, total
        self._done, self._started = 0, time.monotonic()
        self._spent: dict[str, Spent] = {}
        self._line = ProgressLine()

    def __enter__(self) -> CallProgress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._done:  # a batch that was in the logs has nothing to show
            self._line.show(self.text, last=True)

    def heard(self, model: str, input_tokens: int, output_tokens: int) -> None:
        """Shows that a call was answered."""
        self._done += 1
        self._spent.setdefault(model, Spent()).add(input_tokens, output_tokens)
        self._line.show(self.text)

    def answered(self, calls: int) -> None:
        """Takes what came of the batch, whose spending the total has by now.

        A run that was killed had heard some of the answers, of which nobody hears again.

        Args:
          calls: of the batch that were answered.
        """
        self._done, self._spent = calls, {}

    def text(self) -> str:
        """Returns the line, its bar as long as the terminal has room for, or none."""
        tokens, cost = self._total(self._spent)
        money = "" if math.isnan(cost) else f", cost {cost:.2f}"
        seconds = duration(time.monotonic() - self._started)
        rest = f"{self._done} of {self._calls} calls: {seconds}; {tokens:,} tokens{money} in all"
        room = shutil.get_terminal_size().columns - 1
        cells = min(_BAR, room - len(f"{self._stage} [] {rest}"))
        if cells < _LEAST_BAR:
            return f"{self._stage} {rest}"
        filled = round(cells * min(self._done / max(self._calls, 1), 1.0))
        return f"{self._stage} [{'=' * filled}{' ' * (cells - filled)}] {rest}"
