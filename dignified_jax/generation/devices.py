"""The mesh that sequences and parameters are split over when sampling."""

from __future__ import annotations

import jax
from jax.sharding import AxisType, Mesh

from dignified_jax.models.partition import BATCH_AXES, TENSOR_AXIS


def make_mesh(fsdp: int = 1, tensor: int = 1) -> Mesh | None:
    """Makes a mesh of all devices of this process; None where there is one.

    Processes share prompts, and each has the whole model.

    Args:
      fsdp: devices over which parameters are split, a part of which each computes whole rows with.
      tensor: devices over which heads, feed-forward units and vocabulary are split.

    Raises:
      ValueError: there is no such number of devices.
    """
    count = jax.local_device_count()
    if count % (fsdp * tensor):
        raise ValueError(
            f"--fsdp {fsdp} x --tensor {tensor} does not divide the number of devices, {count}"
        )
    if count == 1:
        return None
    shape, names = (count // (fsdp * tensor), fsdp, tensor), (*BATCH_AXES, TENSOR_AXIS)
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * 3, devices=jax.local_devices())


def usual_dtype() -> str:
    """Returns the dtype that is fast here: float32 on CPUs, bfloat16 elsewhere."""
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"
