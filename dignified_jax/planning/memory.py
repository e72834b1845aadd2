"""Bytes of a train step on one device, by part, from formulas: nothing is compiled or allocated.

What lies there throughout, the step's arguments, is added up from the shapes and shardings of
`abstract`. What comes and goes (`working_set`) is added up at every moment that may be the
largest. The formulas follow `step`, `decoder` and `output_head`, and what XLA makes of them;
benchmarks/memory.py compares the two. With N tokens and S predictions on a device at a time, C
of these in a chunk, the terms that matter are

    activations  layers x N x hidden                     one layer  N x (4 intermediate + ...)
    logits       C x vocabulary                          kernel's gradient  hidden x vocabulary
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import PyTree

from dignified_jax.models import partition
from dignified_jax.models.decoder import Decoder
from dignified_jax.planning import activations
from dignified_jax.planning.shapes import BatchShape
from dignified_jax.training.step.sharding import row_devices, tensor_parallel
from dignified_jax.training.step.state import TrainState
from dignified_jax.training.step.step_inputs import StepInputs

_FLOAT32 = 4


@dataclasses.dataclass(frozen=True)
class Parts:
    """Bytes on one device.

    Attributes:
      parameters: those that are trained.
      base: the frozen ones under LoRA, which are the resident reference too.
      optimizer: moments.
      reference: the frozen parameters, or their log-probs of a batch.
      batch: the packed rows and the objective's state.
      gradients: as far as they are there.
      accumulators: sums of gradients over accumulation steps, and the gradients of the other
        dimensions (PCGrad).
      casts: parameters in the compute dtype, and gathered ones.
      activations: what the layers keep for the backward pass.
      layer: the working set of the one layer that is in its backward pass.
      log_probs: a chunk's logits, and the states they come from.
      update: copies of gradients and moments.
    """

    parameters: int = 0
    base: int = 0
    optimizer: int = 0
    reference: int = 0
    batch: int = 0
    gradients: int = 0
    accumulators: int = 0
    casts: int = 0
    activations: int = 0
    layer: int = 0
    log_probs: int = 0
    update: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(dataclasses.astuple(self))

    @property
    def arguments(self) -> int:
        """Bytes that lie there throughout."""
        return self.parameters + self.base + self.optimizer + self.reference + self.batch


def moments(
    module: Decoder,
    state: TrainState,
    inputs: StepInputs,
    mesh: Mesh | AbstractMesh,
    shape: BatchShape,
    trees: int = 1,
    fused: bool = True,
    inlined: bool = False,
) -> dict[str, Parts]:
    """Returns what is there at each moment that may be the step's largest, by the moment's name.

    Args:
      module: the decoder, its attention by name.
      state, inputs: the step's arguments, from `shapes.step_arguments`.
      mesh: the devices.
      shape: of the packed rows.
      trees: gradients that the step finds (`gradients.tree_count`).
      fused: whether XLA's fusions have several results, as on GPUs and TPUs. On CPUs they have one,
        so that more of a layer is stored, and the clipped gradient and the moments that several
        fusions read are copied.
      inlined: whether XLA computes an operand of a product within it, as on TPUs.
    """
    params = state.params
    local = tensor_parallel(mesh).local(module.config)
    fsdp = mesh.shape[partition.FSDP_AXIS]
    module = module.clone(config=local)
    rows = activations.Rows(shape.rows // row_devices(mesh), shape.row_length, shape.capacity)
    dtype = jax.tree.leaves(params)[0].dtype
    compute = jnp.dtype(module.dtype).itemsize
    narrows = dtype != module.dtype
    whole = inputs.base is None  # what is trained
    # Gathered over fsdp; XLA casts before it gathers, and LoRA's base is in the compute dtype.
    outer_copies = (narrows and whole) or fsdp > 1
    matrix = local.hidden_size * local.vocab_size  # the embedding; the output kernel
    trained_matrix = matrix if whole else 0
    layers = held(params["layers"])

    # The loop over accumulation steps carries float32 sums beside a step's own gradients.
    sums = elements(params) * _FLOAT32 * trees if shape.steps > 1 else 0
    others = held(params) * (trees - 1)  # one is whole before the next one's begins
    throughout = Parts(
        parameters=held(params),
        base=held(inputs.base),
        optimizer=held(state.opt_state),
        reference=held(inputs.reference),
        batch=held((inputs.batch, state.method_state, inputs.rewards)),
        accumulators=sums + others,
    )
    forward = dataclasses.replace(
        throughout,
        activations=activations.residual_bytes(module, dtype.name, fsdp, rows),
        # As much as all layers' weights in the compute dtype, by XLA's account; not one layer's.
        casts=elements(params["layers"]) * compute if narrows and fsdp > 1 else 0,
    )
    return {
        "log-probs, backward pass": dataclasses.replace(
            forward,
            # Of the output kernel, summed over chunks in float32.
            gradients=trained_matrix * _FLOAT32,
            casts=forward.casts + (matrix * compute if outer_copies else 0),
            log_probs=activations.log_probs(local, rows.slots, compute, inlined),
        ),
        "layers, backward pass": dataclasses.replace(
            forward,
            # Zeros for the gradients of all layers before the loop; the output kernel's waits to
            # be summed over devices with the embedding's, or until XLA's scheduler gets to it.
            gradients=layers + trained_matrix * _FLOAT32,
            layer=activations.layer(module, rows, fused, inlined),
        ),
        "embedding, backward pass": dataclasses.replace(
            throughout,
            # That of the look-up, before and after it is summed over devices, beside the kernel's.
            gradients=layers + trained_matrix * 3 * _FLOAT32,
        ),
        "update": dataclasses.replace(
            throughout,
            gradients=0 if shape.steps > 1 else held(params),
            # PCGrad's combined gradient stands beside those that it combines.
            accumulators=(sums or others) + (held(params) if trees > 1 else 0),
            update=0 if fused else held(params) + held(state.opt_state),
        ),
    }


def largest(moments: dict[str, Parts]) -> str:
    """Name of the moment at which most is there."""
    return max(moments, key=lambda name: moments[name].total)


def held(tree: PyTree) -> int:
    """Bytes on one device of a tree of `jax.ShapeDtypeStruct`s with shardings."""
    leaves = jax.tree.leaves(tree)
    return sum(_entries(leaf) * leaf.dtype.itemsize for leaf in leaves)


def elements(tree: PyTree) -> int:
    """Entries on one device of such a tree."""
    return sum(map(_entries, jax.tree.leaves(tree)))


def _entries(leaf: jax.ShapeDtypeStruct) -> int:
    return math.prod(leaf.sharding.shard_shape(leaf.shape))
