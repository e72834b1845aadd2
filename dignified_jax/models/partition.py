"""Which axis of each parameter is split over the mesh axis ``fsdp``: one table, by name.

Mesh axes are ``data`` (batch rows) and ``fsdp`` (batch rows and parameters).
"""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

FSDP_AXIS = "fsdp"
BATCH_AXES = ("data", FSDP_AXIS)

# Parameter name (the two last path components) -> axis split over `fsdp`. Scanned layers have
# the layer axis in front. Names not listed (norm scales) are replicated.
_SPLIT_AXIS = {
    "embed_tokens/embedding": 1,
    "lm_head/kernel": 0,
    **{f"{name}/kernel": 1 for name in ("q_proj", "k_proj", "v_proj", "o_proj")},
    **{f"{name}/kernel": 1 for name in ("gate_proj", "up_proj", "down_proj")},
}


def path_name(path: tuple[Any, ...]) -> str:
    """'layers/mlp/up_proj/kernel' for a key path of the parameter tree."""
    return "/".join(str(getattr(entry, "key", entry)) for entry in path)


def split_axis(path: tuple[Any, ...]) -> int | None:
    """Axis of the parameter at `path` that is split over `fsdp`; None for replicated ones."""
    return _SPLIT_AXIS.get("/".join(path_name(path).split("/")[-2:]))


def partition_spec(path: tuple[Any, ...], shape: tuple[int, ...], fsdp: int) -> PartitionSpec:
    """Partition of one parameter over `fsdp` devices.

    Raises:
      ValueError: the split axis is not a multiple of `fsdp`.
    """
    axis = split_axis(path)
    if axis is None:
        return PartitionSpec()
    if shape[axis] % fsdp:
        raise ValueError(
            f"mesh.fsdp: axis {axis} of {path_name(path)} has {shape[axis]} entries, "
            f"not a multiple of fsdp={fsdp}"
        )
    return PartitionSpec(*([None] * axis), FSDP_AXIS)


def param_specs(params: Any, fsdp: int) -> Any:
    """`partition_spec` of every leaf of a parameter tree (arrays or shapes)."""
    return jax.tree.map_with_path(lambda path, leaf: partition_spec(path, leaf.shape, fsdp), params)


def param_shardings(params: Any, mesh: Mesh) -> Any:
    """`NamedSharding` of every leaf of a parameter tree on `mesh`."""
    specs = param_specs(params, mesh.shape[FSDP_AXIS])
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
