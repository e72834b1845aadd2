"""Which axes of each parameter are split over which mesh axis: one table, by name.

Mesh axes are ``data`` (batch rows), ``fsdp`` (batch rows and parameters) and ``tensor``
(parameters and the computation of each row).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

DATA_AXIS, FSDP_AXIS, TENSOR_AXIS = "data", "fsdp", "tensor"
# Axes over which the rows of a batch are split; the devices of `tensor` share their rows.
BATCH_AXES = (DATA_AXIS, FSDP_AXIS)


class Split(NamedTuple):
    """Axis of a parameter split over ``fsdp``, and over ``tensor``; None for whole.

    Attributes:
      per_head: a whole parameter that each device of ``tensor`` applies to its own heads only.
    """

    fsdp: int | None = None
    tensor: int | None = None
    per_head: bool = False


# Parameter name (the two last path components). Scanned layers have the layer axis in front.
# Along ``tensor`` the first matrix of a pair is split by output, the second by input.
_SPLITS = {
    "embed_tokens/embedding": Split(fsdp=1, tensor=0),
    "lm_head/kernel": Split(fsdp=0, tensor=1),
    **{
        f"{name}/kernel": Split(fsdp=1, tensor=2)
        for name in ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
    },
    **{f"{name}/kernel": Split(fsdp=2, tensor=1) for name in ("o_proj", "down_proj")},
    **{f"{name}/scale": Split(per_head=True) for name in ("q_norm", "k_norm")},
}


def path_name(path: tuple[Any, ...]) -> str:
    """'layers/mlp/up_proj/kernel' for a key path of the parameter tree."""
    return "/".join(str(getattr(entry, "key", entry)) for entry in path)


def split(path: tuple[Any, ...]) -> Split:
    """How the parameter at `path` is split; names not in the table (norm scales) are whole."""
    return _SPLITS.get("/".join(path_name(path).split("/")[-2:]), Split())


def partition_spec(path: tuple[Any, ...], shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """Partition of one parameter over `mesh`, whose axes may lack ``tensor``.

    Raises:
      ValueError: a split axis is not a multiple of its mesh axis.
    """
    entries: list[str | None] = [None] * len(shape)
    how = split(path)
    for name, axis in ((FSDP_AXIS, how.fsdp), (TENSOR_AXIS, how.tensor)):
        size = mesh.shape.get(name, 1)
        if axis is None or size == 1:
            continue
        if shape[axis] % size:
            raise ValueError(
                f"mesh.{name}: axis {axis} of {path_name(path)} has {shape[axis]} entries, "
                f"not a multiple of {name}={size}"
            )
        entries[axis] = name
    while entries and entries[-1] is None:
        entries.pop()
    return PartitionSpec(*entries)


def param_specs(params: Any, mesh: Mesh) -> Any:
    """`partition_spec` of every leaf of a parameter tree (arrays or shapes)."""
    return jax.tree.map_with_path(lambda path, leaf: partition_spec(path, leaf.shape, mesh), params)


def param_shardings(params: Any, mesh: Mesh) -> Any:
    """`NamedSharding` of every leaf of a parameter tree on `mesh`."""
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), param_specs(params, mesh))
