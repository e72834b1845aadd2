"""The protocol of an objective: arrays in, arrays out; and the register of methods by name.

A *method* is what the configuration's section `method` names: an `Objective`, which one training
optimises, or a method of several trainings (`multi_stage.MultiStage`). Either is a frozen
dataclass whose fields are its hyperparameters:

    @register
    @dataclasses.dataclass(frozen=True)
    class Hinge(Objective):
        '''Attributes:
          beta: inverse temperature of the implicit reward.
        '''

        beta: float = 0.1

        name = "hinge"

        def loss(self, batch, counts, state):
            slack = jax.nn.relu(1.0 - dpo.margins(batch.log_ratios, self.beta))
            sums = jnp.where(dpo.pair_mask(batch.mask), slack, 0.0).sum(axis=0)
            losses = sums / jnp.maximum(counts, 1.0)
            return losses.mean(), losses

Once the module is imported, `method.name=hinge` trains with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PyTree

from dignified_jax.objectives import dpo
from dignified_jax.objectives.checks import entries
from dignified_jax.registry import Registry

GOLDEN = "golden"
"""Name of the first response; the others have their dimension's."""


class ScoredBatch(struct.PyTreeNode):
    """The responses of a batch of prompts, golden first, then the reject of each dimension.

    Attributes:
      log_ratios: float32, log pi(y|x) - log pi_ref(y|x) where the objective has a reference, else
        log pi(y|x); any number where `mask` is False.
      mask: whether there is such a response. It may cover a part of the batch only.
      lengths: tokens of each response.
      rewards: float32, [i, y, j] the frozen reward of policy j for response y; None for
        objectives without `needs_rewards`.
    """

    log_ratios: Float[Array, "example response"]
    mask: Bool[Array, "example response"]
    lengths: Int[Array, "example response"]
    rewards: Float[Array, "example response dimension"] | None = None


@dataclasses.dataclass(frozen=True)
class Stage:
    """One training of several.

    Attributes:
      name: of its directory.
      objective: what it optimises.
      start: number (from 0) of the stage whose policy this one starts from and is compared with;
        None for the run's own model.
    """

    name: str
    objective: Objective
    start: int | None = None


class Method:
    """Common part of objectives and methods of several stages.

    Attributes:
      name: in the configuration.
      needs_reference: the policy is compared with a frozen reference.
      needs_rewards: `loss` takes the frozen rewards of other policies, one a dimension.
      beta: inverse temperature at which rewards and margins are reported. A subclass makes it a
        field.
      golden_nll: weight of the golden's negative log-likelihood, which the training adds to the
        scalar of `loss` (`golden`). `terms.Terms` makes it a field.
      lambda_max: upper bound of the multipliers, which the final table compares them with; None
        where there is none.
      renamed: former name of a field -> today's, to tell those who still use it.
    """

    name: ClassVar[str]
    needs_reference: ClassVar[bool] = True
    needs_rewards: ClassVar[bool] = False
    beta: float = 1.0
    golden_nll: float = 0.0
    lambda_max: float | None = None
    renamed: ClassVar[Mapping[str, str]] = {}

    def check(self, dimensions: Sequence[str]) -> None:
        """Raises ValueError where hyperparameters do not fit the dimensions."""
        raise NotImplementedError

    def stages(self, dimensions: Sequence[str]) -> tuple[Stage, ...]:
        """Returns the trainings that come first, in order.

        An objective has some only where it `needs_rewards`: its reward policies, each stage named
        after its dimension.
        """
        del dimensions
        return ()

    def resolved(self, find: Callable[[str], tuple[str, ...]], dimensions: Sequence[str]) -> Method:
        """Returns the method with names of dimensions and groups in the form it computes with.

        Args:
          find: gives the dimensions that a name stands for, and raises ValueError for others.
          dimensions: of the data.
        """
        del find, dimensions
        return self

    @classmethod
    def upgraded(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns fields as any version wrote them to config.json in today's form."""
        return fields


class Objective(Method):
    """The objective of one training; K is the number of dimensions.

    `loss` is additive: given the parts of a batch (a device's rows, one accumulation step) with
    the same `counts`, its results add up to those of the whole batch.

    Attributes:
      combines_gradients: the gradient is not that of the scalar: the K gradients of the losses
        over the whole global batch go through `combine`.
    """

    combines_gradients: ClassVar[bool] = False

    def init(self, dimensions: int) -> PyTree:
        """Returns the state before the first step (multipliers, averages) for K dimensions.

        Raises:
          ValueError: a hyperparameter has another number of entries.
        """
        del dimensions
        return ()

    def for_steps(self, steps: int) -> Objective:
        """Returns the objective for a run of so many optimiser steps; itself by default.

        Where hyperparameters are in units of the run, it has them per step.
        """
        del steps
        return self

    def batch_counts(
        self, mask: Bool[Array, "example response"], lengths: Int[Array, "example response"]
    ) -> PyTree:
        """Returns what `loss` divides by, from the whole batch; pairs of each dimension, (K,)."""
        del lengths
        return dpo.pair_counts(mask)

    def loss(
        self, batch: ScoredBatch, counts: PyTree, state: PyTree
    ) -> tuple[Float[Array, ""], Float[Array, " dimension"]]:
        """Returns the scalar to minimise, and the losses of the dimensions.

        `golden_nll` is not in it: the training adds that (`golden.add`).

        Args:
          batch: the whole batch or a part of it; what is masked must not reach the result.
          counts: from `batch_counts` of the whole batch.
          state: held constant.
        """
        raise NotImplementedError

    def combine(self, gradients: Sequence[PyTree], state: PyTree) -> PyTree:
        """Returns one gradient from the K of the losses, each over the whole global batch."""
        raise NotImplementedError

    def update(
        self,
        state: PyTree,
        losses: Float[Array, " dimension"],
        present: Bool[Array, " dimension"],
        batch: ScoredBatch,
    ) -> PyTree:
        """Returns the next state.

        Args:
          state: before the step, of the same shapes and dtypes.
          losses: of the whole batch, from `loss`.
          present: whether the batch has a pair of the dimension.
          batch: the whole batch.
        """
        del losses, present, batch
        return state

    def metrics(self, state: PyTree) -> dict[str, Float[Array, " dimension"]]:
        """Returns what of the state is logged, by name; "lambda" is in the final table too."""
        del state
        return {}

    def trained_responses(self, dimensions: Sequence[str]) -> tuple[str, ...]:
        """Returns the responses that `loss` looks at: `GOLDEN`, and names of dimensions.

        Others are left out of the training data, and with them the rows that have none of these.
        """
        return (GOLDEN, *dimensions)

    def check(self, dimensions: Sequence[str]) -> None:
        """Raises ValueError where hyperparameters do not fit the dimensions."""
        jax.eval_shape(lambda: self.init(len(dimensions)))  # takes no device


def weighted_responses(weights: Sequence[float], dimensions: Sequence[str]) -> tuple[str, ...]:
    """Returns golden and the dimensions of positive weight, from 1 or K weights."""
    each = entries("weights", weights, len(dimensions))
    return (GOLDEN, *(name for name, weight in zip(dimensions, each, strict=True) if weight > 0))


METHODS: Registry[Method] = Registry("method", Method)
"""All methods by name."""

register = METHODS.register
