"""The train state: everything that an optimiser step changes, and that a checkpoint holds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from dignified_jax.models import partition
from dignified_jax.objectives import Objective


class TrainState(struct.PyTreeNode):
    """One pytree, donated to every train step.

    Attributes:
      step: () int32, optimiser steps done; also the position in the data stream.
      params: the policy's parameters.
      opt_state: optax's state, sharded like the parameters.
      method_state: the objective's own state, such as lambda; replicated.
    """

    step: jax.Array
    params: PyTree
    opt_state: PyTree
    method_state: PyTree


def state_shardings(
    shapes: TrainState, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """Shardings of every leaf: optimiser moments like their parameters, the rest replicated."""
    replicated = NamedSharding(mesh, PartitionSpec())
    params = partition.param_shardings(shapes.params, mesh)
    return TrainState(
        step=replicated,
        params=params,
        opt_state=optax.tree.map_params(
            optimizer,
            lambda _, sharding: sharding,
            shapes.opt_state,
            params,
            transform_non_params=lambda _: replicated,
        ),
        method_state=jax.tree.map(lambda _: replicated, shapes.method_state),
    )


def init_state(
    params: PyTree,
    objective: Objective,
    dimensions: int,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
) -> TrainState:
    """The state at step 0, sharded over `mesh`. `params` are donated."""

    def make(params: PyTree) -> TrainState:
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=optimizer.init(params),
            method_state=objective.init(dimensions),
        )

    shardings = state_shardings(jax.eval_shape(make, params), optimizer, mesh)
    return jax.jit(make, out_shardings=shardings, donate_argnums=0)(params)
