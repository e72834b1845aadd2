"""Which axes of each parameter are split over which mesh axis: one table, by name.

Mesh axes are ``data`` (batch rows), ``fsdp`` (batch rows and parameters) and ``tensor``
(parameters and the computation of each row).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

DATA_AXIS, FSDP_AXIS, TENSOR_AXIS = "data", "fsdp", "tensor"
# Axes over which the rows of a batch are split; the devices of `tensor` share their rows.
BATCH_AXES = (DATA_AXIS, FSDP_AXIS)
# Where a leaf stands in a tree of parameters.
KeyPath = tuple[jax.tree_util.DictKey, ...]


class Split(NamedTuple):
    """Axis of a parameter split over ``fsdp``, and over ``tensor``; None for whole.

    Attributes:
      partial: a parameter that each device of ``tensor`` holds whole and applies to its own part
        of the heads or units, so that it has a part of the gradient.
    """

    fsdp: int | None = None
    tensor: int | None = None
    partial: bool = False


# Along ``tensor`` the first matrix of a pair is split by output, the second by input.
_BY_OUTPUT = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
_BY_INPUT = ("o_proj", "down_proj")
# Parameter name (the two last path components). Scanned layers have the layer axis in front.
_SPLITS = {
    "embed_tokens/embedding": Split(fsdp=1, tensor=0),
    "lm_head/kernel": Split(fsdp=0, tensor=1),
    **{f"{name}/kernel": Split(fsdp=1, tensor=2) for name in _BY_OUTPUT},
    **{f"{name}/lora_a": Split(fsdp=1, partial=True) for name in _BY_OUTPUT},
    **{f"{name}/lora_b": Split(fsdp=2, tensor=2) for name in _BY_OUTPUT},
    **{f"{name}/kernel": Split(fsdp=2, tensor=1) for name in _BY_INPUT},
    **{f"{name}/lora_a": Split(fsdp=1, tensor=1) for name in _BY_INPUT},
    **{f"{name}/lora_b": Split(fsdp=2, partial=True) for name in _BY_INPUT},
    **{f"{name}/bias": Split(tensor=1) for name in ("q_proj", "k_proj", "v_proj")},
    **{f"{name}/scale": Split(partial=True) for name in ("q_norm", "k_norm")},
    **{f"experts/{name}": Split(fsdp=2, tensor=1) for name in ("gate_proj", "up_proj")},
    "experts/down_proj": Split(fsdp=3, tensor=1),
}


def declare(splits: Mapping[str, Split]) -> None:
    """Adds parameters to the table, by the two last components of their path.

    Raises:
      ValueError: a name is there already, and split in another way.
    """
    for name, how in splits.items():
        if _SPLITS.setdefault(name, how) != how:
            raise ValueError(f"{name} is split as {_SPLITS[name]} already, found {how}")


def path_name(path: KeyPath) -> str:
    """'layers/mlp/up_proj/kernel' for a key path of the parameter tree."""
    return "/".join(str(getattr(entry, "key", entry)) for entry in path)


def split(path: KeyPath) -> Split:
    """How the parameter at `path` is split; names not in the table (norm scales) are whole."""
    return _SPLITS.get("/".join(path_name(path).split("/")[-2:]), Split())


def partition_spec(path: KeyPath, shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """Partition of one parameter over `mesh`, whose axes may lack ``tensor``.

    Raises:
      ValueError: a split axis is not a multiple of its mesh axis.
    """
    entries: list[tuple[str, ...]] = [()] * len(shape)
    how = split(path)
    # An axis split over both is split over ``tensor`` first: a gather over ``fsdp`` then gives the
    # device's part of it whole.
    for name, axis in ((TENSOR_AXIS, how.tensor), (FSDP_AXIS, how.fsdp)):
        size = mesh.shape.get(name, 1)
        if axis is None or size == 1:
            continue
        parts = math.prod(mesh.shape[other] for other in (*entries[axis], name))
        if shape[axis] % parts:
            raise ValueError(
                f"mesh.{name}: axis {axis} of {path_name(path)} has {shape[axis]} entries, "
                f"not a multiple of {' x '.join((*entries[axis], name))}={parts}"
            )
        entries[axis] += (name,)
    while entries and not entries[-1]:
        entries.pop()
    plain = [names[0] if len(names) == 1 else names or None for names in entries]
    return PartitionSpec(*plain)


def param_specs(params: PyTree, mesh: Mesh) -> PyTree:
    """`partition_spec` of every leaf of a parameter tree (arrays or shapes)."""
    return jax.tree.map_with_path(lambda path, leaf: partition_spec(path, leaf.shape, mesh), params)


def param_shardings(params: PyTree, mesh: Mesh) -> PyTree:
    """`NamedSharding` of every leaf of a parameter tree on `mesh`."""
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), param_specs(params, mesh))
