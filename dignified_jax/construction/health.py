"""The stop rule: a model whose answers can't be used is not paid for a thousand more of them."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict, deque

from dignified_jax.console.labels import clip
from dignified_jax.console.table import Table


class DegradedError(ValueError):
    """A model gives too many answers that can't be used; `table` says which, and why."""

    def __init__(self, message: str, table: Table) -> None:
        super().__init__(message)
        self.table = table


@dataclasses.dataclass(frozen=True)
class StopRule:
    """When to stop.

    Attributes:
      window: newest answers of a model that are looked at; half of them are needed.
      share: of these that can't be used, at which it is.
    """

    window: int
    share: float


class Health:
    """A record of what came of each model's answers, in the order in which they were read."""

    def __init__(self, rule: StopRule) -> None:
        """
        Args:
          rule: when to stop.
        """
        self._rule = rule
        self._newest: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=rule.window))
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def note(self, model: str, stage: str, reason: str) -> None:
        """Notes an answer; `reason` says why it can't be used, "" that it can."""
        self._newest[model].append(bool(reason))
        self._counts[model, stage, clip(reason)] += 1

    def check(self) -> None:
        """Stops where a model has degraded.

        Raises:
          DegradedError: names it, and the commonest reason.
        """
        for model, newest in self._newest.items():
            bad = sum(newest)
            if 2 * len(newest) < self._rule.window or bad < self._rule.share * len(newest):
                continue
            reasons = Counter(
                {(s, r): n for (m, s, r), n in self._counts.items() if m == model and r}
            )
            (stage, reason), times = reasons.most_common(1)[0]
            raise DegradedError(
                f"{model}: {bad} of its last {len(newest)} answers can't be used; most often "
                f"({times} times, {stage}): {reason}",
                self.table(),
            )

    def table(self) -> Table:
        """Returns the number of answers by model, stage and reason, the commonest first."""
        rows = sorted(self._counts.items(), key=lambda pair: (pair[0][0], -pair[1]))
        names = ("model", "stage", "reason")
        columns = {n: [key[at] or "used" for key, _ in rows] for at, n in enumerate(names)}
        return Table("answers", "what came of answers", columns | {"n": [n for _, n in rows]})
