"""Section `steering`: vectors that are added while training, and not afterwards."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated

from dignified_jax.typed_config import Bounds, ConfigError, Path, check_bounds


@dataclasses.dataclass(frozen=True)
class SteeringConfig:
    """Preventive steering: persona vectors in the policy's train step, and nowhere else.

    A vector that is added while training takes over the shift that the data ask for, so that the
    weights need not learn it (Chen et al., "Persona Vectors", 2025). References, evaluations and
    the trained model are not steered.

    Attributes:
      vectors: file of `analyze vectors` on the model that training starts from; None steers
        nothing.
      add: "NAME:ALPHA" of vectors of the file, such as "A:-1": the multiple that is added to every
        token.
      layers: of the decoder, at which they are added, each layer's own vector; () means the
        chosen layer of each.
    """

    vectors: Path | None = None
    add: tuple[str, ...] = ()
    layers: tuple[Annotated[int, Bounds("[0, 9999]")], ...] = ()

    def __post_init__(self) -> None:
        check_bounds(self, "steering.")
        if self.vectors == "":
            raise ConfigError("steering.vectors must not be empty", "steering.vectors")
        for name in ("add", "layers"):
            if getattr(self, name) and self.vectors is None:
                raise ConfigError(
                    f"steering.{name} has no meaning without steering.vectors", f"steering.{name}"
                )
        if self.vectors is not None and not self.add:
            raise ConfigError(
                "steering.vectors needs steering.add, such as ('A:-1',)", "steering.add"
            )
        names = [name for name, _ in self.strengths]
        if len(set(names)) < len(names) or len(set(self.layers)) < len(self.layers):
            raise ConfigError(
                f"steering: expected each name and layer once, found {self.add} and {self.layers}",
                "steering.add",
            )

    @property
    def strengths(self) -> tuple[tuple[str, float], ...]:
        """(name, alpha) of each vector that is added.

        Raises:
          ConfigError: an entry is not of that form.
        """
        found = []
        for entry in self.add:
            name, _, number = entry.rpartition(":")
            try:
                alpha = float(number)
            except ValueError:
                alpha = math.nan
            if not name or not math.isfinite(alpha):
                raise ConfigError(
                    f"steering.add must be NAME:ALPHA, found {entry!r}", "steering.add"
                )
            found.append((name, alpha))
        return tuple(found)
