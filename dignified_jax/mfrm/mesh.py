"""Running a program on arrays that are sharded over a mesh of explicit axis types.

Over automatic axes the compiler places every intermediate by itself. Explicit axes want each
contraction's sharding spelled out, which would fill the mathematics with placements; the program
is run with those axes made automatic instead, and its results come back replicated.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def explicit_mesh(*arrays: jax.Array) -> jax.sharding.AbstractMesh | None:
    """The mesh with explicit axes that one of the arrays lies on, if any."""
    for array in arrays:
        mesh = jax.typeof(array).sharding.mesh
        if AxisType.Explicit in mesh.axis_types:
            return mesh
    return None


@functools.lru_cache(maxsize=64)
def _automatic(program: Callable, mesh: jax.sharding.AbstractMesh, keywords: tuple) -> Callable:
    replicated = NamedSharding(mesh, PartitionSpec())
    return jax.sharding.auto_axes(
        functools.partial(program, **dict(keywords)), out_sharding=replicated
    )


def over_mesh(
    program: Callable, mesh: jax.sharding.AbstractMesh | None, **keywords: object
) -> Callable:
    """`program` with hashable keywords given, as a function of arrays that may lie on `mesh`."""
    if mesh is None:
        return functools.partial(program, **keywords)
    return _automatic(program, mesh, tuple(sorted(keywords.items())))
