"""The device mesh, batches on it, and the gather of sharded weights inside the train step.

The forward and backward passes run under `jax.shard_map` with all mesh axes manual. Every
device of ``data`` x ``fsdp`` computes the loss of its own packed rows; a weight is gathered over
``fsdp`` just before its use, and the transpose of that gather is a reduce-scatter of its gradient
(ZeRO-3). The devices of ``tensor`` compute their rows together (`models.tensor_parallel`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.typing import DTypeLike
from jaxtyping import PyTree

from dignified_jax.models.lora import LoraParams
from dignified_jax.models.partition import (
    BATCH_AXES,
    DATA_AXIS,
    FSDP_AXIS,
    TENSOR_AXIS,
    KeyPath,
    split,
)
from dignified_jax.models.tensor_parallel import TensorParallel
from dignified_jax.typed_config import Bounds, check_bounds

# Row fields are (accumulation step, row, ...), split over the batch axes; example fields are whole.
_ROW_SPEC = PartitionSpec(None, BATCH_AXES)
_ROW_FIELDS = ("tokens", "positions", "visible_until", "segments", "source", "target", "response")
_Size = Annotated[int, Bounds("[1, 1048576]")]


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Mesh axis sizes. `fsdp=None` takes all devices that the others leave.

    Attributes:
      data: replicas of the parameters; each sees its own rows of a batch.
      fsdp: devices over which parameters, gradients and optimiser state are split; each sees
        its own rows too.
      tensor: devices that compute a row together, heads, feed-forward units and vocabulary split;
        parameters are split over them as well. They belong to one process.
      slices: TPU slices, or nodes, between which the network is slower than inside; each holds as
        many of the replicas of `data`, so that only their gradients' sum goes from one to another.
    """

    data: _Size = 1
    fsdp: _Size | None = None
    tensor: _Size = 1
    slices: _Size = 1

    def __post_init__(self) -> None:
        check_bounds(self, "mesh.")


def mesh_sizes(config: MeshConfig, count: int) -> dict[str, int]:
    """Devices along each axis of a mesh of `count` devices, by the axis's name.

    Raises:
      ValueError: data x fsdp x tensor is not `count`, or data is not split over the slices.
    """
    if config.data % config.slices:
        raise ValueError(
            f"mesh.data={config.data} must be a multiple of mesh.slices={config.slices}: each "
            "slice holds whole replicas"
        )
    fsdp = config.fsdp or max(count // (config.data * config.tensor), 1)
    shape = (config.data, fsdp, config.tensor)
    if math.prod(shape) != count:
        raise ValueError(
            f"mesh.data x mesh.fsdp x mesh.tensor = {config.data} x {fsdp} x {config.tensor} = "
            f"{math.prod(shape)}, but there are {count} devices"
        )
    return dict(zip((*BATCH_AXES, TENSOR_AXIS), shape, strict=True))


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """Mesh with the axes "data", "fsdp" and "tensor" over all devices.

    Raises:
      ValueError: as `mesh_sizes`; the devices of a `tensor` group are of several processes, or are
        not of as many slices.
    """
    sizes = mesh_sizes(config, len(devices or jax.devices()))
    types = (AxisType.Auto,) * len(sizes)
    shape = tuple(sizes.values())
    if config.slices == 1:
        mesh = jax.make_mesh(shape, tuple(sizes), axis_types=types, devices=devices)
    else:
        inside = (config.data // config.slices, *shape[1:])
        parts = [
            mesh_utils.create_device_mesh(inside, part)
            for part in split_slices(devices or jax.devices(), config.slices)
        ]
        mesh = Mesh(np.concatenate(parts), tuple(sizes), axis_types=types)
    for group in mesh.devices.reshape(-1, config.tensor):
        processes = {device.process_index for device in group}
        if len(processes) > 1:
            raise ValueError(
                f"mesh.tensor={config.tensor}: a group's devices are of processes "
                f"{sorted(processes)}; use at most the {jax.local_device_count()} of one process"
            )
    return mesh


def split_slices(devices: list[jax.Device], count: int) -> list[list[jax.Device]]:
    """Returns the devices of each slice: by what they say of it, else by process, in order.

    Raises:
      ValueError: they are of another number of slices, or can't be split into so many.
    """
    said = sorted({getattr(device, "slice_index", None) or 0 for device in devices})
    if len(said) not in (1, count):
        raise ValueError(f"mesh.slices={count}: the devices are of {len(said)} slices")
    if len(said) == count:
        return [[one for one in devices if (one.slice_index or 0) == slice] for slice in said]
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    width, rest = divmod(len(ordered), count)
    parts = [ordered[start : start + width] for start in range(0, len(ordered), width or 1)]
    processes = [{device.process_index for device in part} for part in parts]
    total = len(set().union(*processes))
    if rest or 1 < total < sum(map(len, processes)):
        raise ValueError(
            f"mesh.slices={count}: {len(devices)} devices of {total} processes can't be split into "
            "so many, each of whole processes"
        )
    return parts


def row_devices(mesh: Mesh) -> int:
    """Over how many devices, or groups of `tensor` devices, the rows of a batch are split."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def tensor_parallel(mesh: Mesh) -> TensorParallel:
    """The devices of `mesh` that compute a row together."""
    return TensorParallel(mesh.shape[TENSOR_AXIS])


def batch_spec(batch: PyTree) -> PyTree:
    """`PartitionSpec` of every field of a packed batch whose rows are grouped."""
    return dataclasses.replace(
        batch,
        **{name: _ROW_SPEC for name in _ROW_FIELDS},
        **{name: PartitionSpec() for name in ("response_mask", "response_length")},
    )


def put_batch(batch: PyTree, mesh: Mesh, rows_per_step: int) -> PyTree:
    """A process's packed batch to global device arrays, rows grouped by accumulation step.

    Args:
      batch: this process's rows, group-major, as the data stream gives them.
      mesh: device mesh.
      rows_per_step: rows of one accumulation step over all processes.
    """
    local = rows_per_step // jax.process_count()

    def put(value: np.ndarray, spec: PartitionSpec) -> jax.Array:
        if spec == _ROW_SPEC:
            value = value.reshape(-1, local, *value.shape[1:])
        return jax.make_array_from_process_local_data(NamedSharding(mesh, spec), value)

    return jax.tree.map(put, batch, batch_spec(batch))


def gather_layer(variables: PyTree, dtype: DTypeLike) -> PyTree:
    """One layer's variables from a device's part, in the compute dtype and gathered over `fsdp`;
    for `Decoder.gather`."""

    def gather(path: KeyPath, leaf: jax.Array) -> jax.Array:
        axis = split(path).fsdp
        # The table counts the layer axis, which the scan has taken off.
        return leaf if axis is None else _all_gather(leaf, axis - 1, dtype)

    return jax.tree.map_with_path(gather, variables)


def gather_outer(params: PyTree) -> PyTree:
    """Embedding, head and final norm gathered over `fsdp`, scanned layers left as they are.

    They keep their own dtype, so that the head's gradient is summed over chunks in it. LoRA is of
    layers alone.
    """
    if isinstance(params, LoraParams):
        return params._replace(base=gather_outer(params.base))

    def gather(path: KeyPath, leaf: jax.Array) -> jax.Array:
        axis = split(path).fsdp
        return leaf if axis is None else _all_gather(leaf, axis, leaf.dtype)

    layers = params["layers"]
    outer = {name: value for name, value in params.items() if name != "layers"}
    return {**jax.tree.map_with_path(gather, outer), "layers": layers}


def reduce_gradients(gradients: PyTree) -> PyTree:
    """Sums over devices what the gathers' transposes have not summed yet."""

    def reduce(path: KeyPath, leaf: jax.Array) -> jax.Array:
        how = split(path)
        axes = BATCH_AXES if how.fsdp is None else (DATA_AXIS,)
        return jax.lax.psum(leaf, (*axes, TENSOR_AXIS) if how.partial else axes)

    return jax.tree.map_with_path(reduce, gradients)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _all_gather(part: jax.Array, axis: int, dtype: DTypeLike) -> jax.Array:
    """Gathers in the compute dtype; the gradient is reduced over devices in float32."""
    if part.dtype != dtype and jax.lax.axis_size(FSDP_AXIS) == 1:
        # XLA moves a mere cast of a layer out of the loop over layers and holds a cast copy of them
        # all, barriers or not. This 0 is known only in the loop; it changes no normal number. Of
        # layers that are split the copy is small, and XLA's schedule better with it.
        part = part + 0 * part[(0,) * part.ndim]
    return jax.lax.all_gather(part.astype(dtype), FSDP_AXIS, axis=axis, tiled=True)


def _all_gather_forward(
    part: jax.Array, axis: int, dtype: DTypeLike
) -> tuple[jax.Array, jax.Array]:
    # An empty array carries the parameter's dtype to the backward pass.
    return _all_gather(part, axis, dtype), jnp.zeros((0,), part.dtype)


def _all_gather_backward(
    axis: int, dtype: DTypeLike, like: jax.Array, gradient: jax.Array
) -> tuple[jax.Array]:
    del dtype
    wide = gradient.astype(jnp.float32)
    part = jax.lax.psum_scatter(wide, FSDP_AXIS, scatter_dimension=axis, tiled=True)
    return (part.astype(like.dtype),)


_all_gather.defvjp(_all_gather_forward, _all_gather_backward)
