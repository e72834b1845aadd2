"""Edits of the residual stream while responses are sampled."""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp

from dignified_jax.models.residual import Edits

Positions = Literal["all", "prompt", "response"]


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["edits"], meta_fields=["positions"]
)
@dataclasses.dataclass(frozen=True)
class Steering:
    """Edits, and the tokens that they are of.

    Attributes:
      edits: of all layers.
      positions: "all" tokens; those of the "prompt"; or those of the "response", with the prompt's
        last token, from which the first token of the response is predicted.
    """

    edits: Edits
    positions: Positions = "all"

    def of_prompts(self, shape: tuple[int, ...], row: jax.Array, last: jax.Array) -> Edits:
        """Returns the edits of packed prompts.

        Args:
          shape: (row, length) of the tokens.
          row, last: (prompt,) int32, the row of each prompt and the place of its last token; those
            of a row beyond the last one are left out.
        """
        if self.positions != "response":
            return self.edits
        where = jnp.zeros(shape, bool).at[row, last].set(True, mode="drop")
        return dataclasses.replace(self.edits, where=where)

    def of_tokens(self) -> Edits | None:
        """Returns the edits of the tokens of responses."""
        return None if self.positions == "prompt" else self.edits
