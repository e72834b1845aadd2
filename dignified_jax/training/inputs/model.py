"""Prepares a run's policy and its frozen reference on the mesh."""

from __future__ import annotations

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import DTypeLike
from jaxtyping import PyTree

from dignified_jax.console.waiting import Waiting, silent
from dignified_jax.embedded import resolve
from dignified_jax.models import hf, partition
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Decoder
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.lora import COLLECTION, check_targets, policy
from dignified_jax.models.partition import KeyPath
from dignified_jax.training.config import ConfigError, TrainConfig
from dignified_jax.training.run import fingerprint
from dignified_jax.training.step.sharding import tensor_parallel
from dignified_jax.training.step.step_inputs import (
    LoraBaseReference,
    NoReference,
    Reference,
    ResidentReference,
)


@dataclasses.dataclass(frozen=True)
class PreparedModel:
    """Policy and resident reference, sharded over the mesh.

    Attributes:
      params: the tree that is trained: the whole model's, or LoRA's.
      base: with LoRA, the frozen parameters under it, matrices in the compute dtype.
      reference: what is here of it; none where its log-probs are cached.
      identity: what log-probs of the first model depend on, name to fingerprint.
    """

    directory: pathlib.Path
    mesh: Mesh
    module: Decoder
    params: PyTree
    base: PyTree
    reference: Reference
    identity: dict[str, str]
    export_dtype: str

    @property
    def first(self) -> PyTree:
        """Parameters of the model that everything begins with."""
        return self.params if self.base is None else self.base

    def policy(self, params: PyTree) -> PyTree:
        """Returns what the score step takes for a trained tree."""
        return policy(params, self.base)


def prepare_model(config: TrainConfig, mesh: Mesh, show: Waiting = silent) -> PreparedModel:
    """Loads or draws the policy on the mesh; the reference is a copy of it, or LoRA's base.

    Args:
      config: the run's.
      mesh: its devices.
      show: shows what is waited for.
    """
    directory = hf.resolve(resolve(config.model.path))
    dtype = config.model.param_dtype
    _check(config, read_config(directory), mesh)
    base = None
    if config.model.init == "random":
        module, params = _random(directory, dtype, config.seed, mesh)
        stored = dtype
    elif config.lora.enabled:
        with show("loading the model", share=True) as count:
            module, base = hf.load(
                directory, dtype, mesh, matrix_dtype=config.model.compute_dtype, progress=count
            )
        module = module.clone(lora=config.lora)
        params = draw(module, COLLECTION, dtype, config.seed, mesh)
        stored = hf.stored_dtype(directory)
    else:
        with show("loading the model", share=True) as count:
            module, params = hf.load(directory, dtype, mesh, progress=count)
        stored = hf.stored_dtype(directory)
    module = module.clone(
        dtype=jnp.dtype(config.model.compute_dtype),
        remat=config.model.remat,
        attention=config.model.attention,
    )
    resident = config.method.needs_reference and config.reference == "resident"
    reference = NoReference()
    if resident and base is not None:
        reference = LoraBaseReference()
    elif resident:
        reference = ResidentReference(freeze(params, module.dtype))
    with show("taking the model's fingerprint"):
        known = identity(module.config, params if base is None else base, config)
    return PreparedModel(
        directory=directory,
        mesh=mesh,
        module=module,
        params=params,
        base=base,
        reference=reference,
        identity=known,
        export_dtype=config.model.export_dtype or stored,
    )


def _check(config: TrainConfig, model: DecoderConfig, mesh: Mesh) -> None:
    tensor_parallel(mesh).local(model)  # refuses what can't be divided
    check_targets(config.lora, model)
    if config.model.router_aux_loss_coef and model.experts is None:
        raise ConfigError(
            f"model.router_aux_loss_coef is {config.model.router_aux_loss_coef}, but "
            f"{model.architecture} has no experts",
            "model.router_aux_loss_coef",
        )


def identity(model: DecoderConfig, params: PyTree, config: TrainConfig) -> dict[str, str]:
    """Returns what a model's log-probs depend on, name to fingerprint."""
    return {
        "model config": fingerprint.of_text(str(model)),
        "model weights": fingerprint.of_arrays(params),
        "compute dtype": config.model.compute_dtype,
    }


def freeze(params: PyTree, dtype: DTypeLike) -> PyTree:
    """A copy of `params` for the frozen reference, matrices in the compute dtype.

    The policy's matrices are cast to that dtype at use, so at step 0 both models have the same
    numbers and margins are 0 up to rounding (XLA compiles the two passes apart). Norm scales
    enter in float32 and keep their dtype.
    """

    def cast(path: KeyPath, leaf: jax.Array) -> jax.Array:
        return jnp.array(leaf, leaf.dtype if path[-1].key == "scale" else dtype, copy=True)

    return jax.jit(lambda tree: jax.tree.map_with_path(cast, tree))(params)


def _random(directory: pathlib.Path, dtype: str, seed: int, mesh: Mesh) -> tuple[Decoder, PyTree]:
    module = Decoder(read_config(directory))
    return module, draw(module, "params", dtype, seed, mesh)


def draw(module: Decoder, collection: str, dtype: str, seed: int, mesh: Mesh) -> PyTree:
    """First values of one collection of variables, each on its devices."""

    def first(key: jax.Array) -> PyTree:
        variables = module.init(key, jnp.zeros((1, 2), jnp.int32))[collection]
        return jax.tree.map(lambda leaf: leaf.astype(dtype), variables)

    key = jax.random.key(seed)
    shardings = partition.param_shardings(jax.eval_shape(first, key), mesh)
    return jax.jit(first, out_shardings=shardings)(key)
