"""How responses are sampled."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

from dignified_jax.typed_config import Bounds, Count, NonNegative, Seed, check_bounds


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of all responses. All but `batch_size` say what a response is.

    Attributes:
      max_new_tokens: of a response.
      temperature: logits are divided by it; 0 always takes the likeliest token.
      top_p: tokens are drawn from the likeliest ones that together have this probability.
      top_k: tokens are drawn from so many likeliest ones; None from all.
      seed: of all requests that have none of their own; each gets one made of this and its id.
      stop: texts that end a response where one first appears; they are not part of it.
      batch_size: sequences that are sampled together.
    """

    max_new_tokens: Count = 256
    temperature: NonNegative = 0.0
    top_p: Annotated[float, Bounds("(0, 1]")] = 1.0
    top_k: Count | None = None
    seed: Seed = 0
    stop: tuple[str, ...] = ()
    batch_size: Count = 32

    def __post_init__(self) -> None:
        check_bounds(self, "")
        if wrong := wrong_stop(self.stop):
            raise ValueError(wrong)
        if self.temperature == 0 and (self.top_p, self.top_k) != (1.0, None):
            raise ValueError("top_p and top_k have no meaning with temperature=0")


def wrong_stop(stop: Sequence[str]) -> str:
    """Returns what is wrong with texts that end a response, in words; "" for nothing.

    A mere text would be one text for each of its characters.
    """
    if isinstance(stop, str):
        return f"stop: expected texts in a tuple, found {stop!r:.60}"
    if not all(isinstance(each, str) for each in stop):
        return f"stop: expected texts, found {stop!r:.60}"
    return "stop: expected texts, found an empty one" if "" in stop else ""
