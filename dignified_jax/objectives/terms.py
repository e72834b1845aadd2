"""Terms that every DPO-like method can add, all off by default; the one place of their fields.

With s(y) the log-ratio of a reply of |y| tokens, m the margin of a pair and l(m) = -log sigmoid(m):

    length_normalized    m = beta (s(golden) / |golden| - s(reject) / |reject|)
    label_smoothing a    (1 - a) l(m) + a l(-m)                        in place of l(m)
    and robust           ((1 - a) l(m) - a l(-m)) / (1 - 2a)           in place of l(m)
    golden_nll w         objective + w (mean over golden tokens of -log pi)

The first three change the pair losses, and so every L_k: what a multiplier compares with its
tolerance, what is averaged, projected and reported. An untrained policy keeps L_k = log 2. The
last (`golden`) is added to the objective beside the L_k.

Length-normalized DPO: Lambert et al., "Tulu 3" (2024). Smoothing: Mitchell, "A note on DPO with
noisy preferences and relationship to IPO" (2023). Robust: Chowdhury et al., "Provably robust DPO"
(2024). NLL: Pang et al., "Iterative reasoning preference optimization" (2024).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dignified_jax.objectives import dpo
from dignified_jax.objectives.base import Method, ScoredBatch
from dignified_jax.typed_config import Bounds, NonNegative, check_bounds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Terms(Method):
    """Fields that DPO-like methods share, and the pair losses that follow from them.

    Attributes:
      golden_nll: weight of the golden's negative log-likelihood, in nats per token, which is added
        to the objective: against rewards of the golden that fall. Outside the L_k and their
        multipliers; where gradients are projected, added after it. 1 is a usual weight.
      length_normalized: a reply's log-ratio is its mean over tokens in place of their sum. Margins
        become smaller by about a reply's length, so beta wants to be as much larger (2 to 10).
      label_smoothing: probability that golden is the worse reply of a pair, after all. No L_k is
        then below the entropy of that probability.
      robust: with label_smoothing, take the loss whose mean under such flips is that of the true
        labels; L_k may then be negative.
    """

    golden_nll: NonNegative = 0.0
    length_normalized: bool = False
    label_smoothing: Annotated[float, Bounds("[0, 0.5)")] = 0.0
    robust: bool = False

    def __post_init__(self) -> None:
        check_bounds(self, "method.")
        if self.robust and not self.label_smoothing:
            raise ValueError("method.robust has no meaning without method.label_smoothing")

    @classmethod
    def upgraded(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns fields as any version wrote them; earlier ones had none of these."""
        return {field.name: field.default for field in dataclasses.fields(Terms)} | dict(fields)

    @property
    def changes_losses(self) -> bool:
        """True where the pair losses are others than DPO's."""
        return self.length_normalized or self.label_smoothing > 0

    def margins(self, batch: ScoredBatch) -> Float[Array, "example dimension"]:
        """Returns the margins of golden over each reject."""
        values = batch.log_ratios
        if self.length_normalized:
            values = values / jnp.maximum(batch.lengths, 1)
        return dpo.margins(values, self.beta)

    def margin_losses(
        self,
        margins: Float[Array, "example dimension"],
        mask: Bool[Array, "example dimension"],
    ) -> Float[Array, "example dimension"]:
        """Returns the loss of each margin, zero outside `mask`."""
        losses = dpo.margin_losses(margins, mask)
        if not self.label_smoothing:
            return losses
        flip = self.label_smoothing
        flipped = dpo.margin_losses(-margins, mask)
        if self.robust:
            return ((1.0 - flip) * losses - flip * flipped) / (1.0 - 2.0 * flip)
        return (1.0 - flip) * losses + flip * flipped

    def pair_losses(self, batch: ScoredBatch) -> Float[Array, "example dimension"]:
        """Returns the loss of each pair, zero where there is none."""
        return self.margin_losses(self.margins(batch), dpo.pair_mask(batch.mask))

    def dimension_losses(
        self, batch: ScoredBatch, counts: Float[Array, " dimension"]
    ) -> Float[Array, " dimension"]:
        """Returns the L_k, or a part's share of them; 0 for an absent dimension.

        Args:
          batch: the whole batch or a part of it.
          counts: pairs of the whole batch, from `dpo.pair_counts`.
        """
        return self.pair_losses(batch).sum(axis=0) / jnp.maximum(counts, 1.0)


def of(method: Method) -> dict[str, Any]:
    """Returns the fields of `Terms` of a method, for another to have the same; {} without any."""
    if not isinstance(method, Terms):
        return {}
    return {field.name: getattr(method, field.name) for field in dataclasses.fields(Terms)}
