"""The arguments of a train step beside its state, and the reference among them."""

from __future__ import annotations

import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, PyTree

from dignified_jax.data import PackedBatch
from dignified_jax.models.residual import Edits


class NoReference(struct.PyTreeNode):
    """The objective has none: the policy's log-probs stand for themselves."""


class ResidentReference(struct.PyTreeNode):
    """A frozen model beside the policy.

    Attributes:
      params: its parameters.
    """

    params: PyTree


class LoraBaseReference(struct.PyTreeNode):
    """The frozen model under the policy's LoRA, which is there anyway."""


class CachedReference(struct.PyTreeNode):
    """A model that was scored before the first step.

    Attributes:
      log_probs: float32, those that it gives the batch; 0 where there is no response.
    """

    log_probs: Float[Array, "example response"]


Reference = NoReference | ResidentReference | LoraBaseReference | CachedReference


class StepInputs(struct.PyTreeNode):
    """The inputs of one optimiser step, on the devices.

    Attributes:
      batch: packed rows from `sharding.put_batch`, grouped by accumulation step.
      num_accumulation_steps: how many of the groups are not empty.
      reference: the model that the policy is compared with.
      rewards: float32, of the batch, for objectives that need them; else None.
      base: the frozen parameters under LoRA; None where the whole model is trained.
      edits: of the policy's residual stream, in this step alone; None for none.
    """

    batch: PackedBatch
    num_accumulation_steps: Int[Array | np.generic, ""]
    reference: Reference = NoReference()
    rewards: Float[Array, "example response dimension"] | None = None
    base: PyTree = None
    edits: Edits | None = None

    @property
    def reference_params(self) -> PyTree:
        """Parameters of the reference; None where it has none here."""
        match self.reference:
            case ResidentReference(params):
                return params
            case LoraBaseReference():
                return self.base
        return None
