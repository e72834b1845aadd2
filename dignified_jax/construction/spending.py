"""Calls, tokens and what they cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from dignified_jax.typed_config import ConfigError


@dataclasses.dataclass(frozen=True)
class Price:
    """Prices of a million tokens, those of calls and those of answers, in any currency."""

    input: float
    output: float


@dataclasses.dataclass
class Spent:
    """Calls of one model and their tokens, counted up."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, input_tokens: int, output_tokens: int) -> None:
        """Adds a call."""
        self.calls += 1
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens

    def cost(self, price: Price | None) -> float:
        """Returns what it costs; NaN without a price."""
        if price is None:
            return float("nan")
        return (self.input_tokens * price.input + self.output_tokens * price.output) / 1e6


def parse_prices(entries: Sequence[str]) -> dict[str, Price]:
    """Reads "MODEL=INPUT/OUTPUT" entries, such as "openai/gpt-4.1-nano=0.1/0.4".

    Raises:
      ConfigError: names the entry.
    """
    found = {}
    for entry in entries:
        model, _, numbers = entry.rpartition("=")
        try:
            each = [float(number) for number in numbers.split("/")]
        except ValueError:
            each = []
        if not model or len(each) != 2 or not all(0 <= n < float("inf") for n in each):
            raise ConfigError(f"prices: expected MODEL=INPUT/OUTPUT, found {entry!r}", "prices")
        found[model] = Price(*each)
    return found
