"""The edits of preventive steering, from a file of persona vectors."""

from __future__ import annotations

import hashlib
import pathlib

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dignified_jax.models.checkpoint import vector_file
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.residual import Edits, make_edits
from dignified_jax.training.config import ConfigError
from dignified_jax.training.config.steering import SteeringConfig


def load_edits(config: SteeringConfig, model: DecoderConfig, mesh: Mesh) -> Edits | None:
    """Returns the edits on the devices, whole on each; None where nothing is steered.

    Raises:
      ConfigError: the file has no such vector, or the model no such layer.
      VectorFileError, OSError: the file can't be used.
    """
    if config.vectors is None:
        return None
    found = vector_file.read(config.vectors, model).vectors
    added: dict[int, np.ndarray] = {}
    for name, alpha in config.strengths:
        if name not in found:
            raise ConfigError(
                f"steering.add: {config.vectors} has {', '.join(found)}, found {name!r}",
                "steering.add",
            )
        for layer in config.layers or (found[name].layer,):
            if not 0 <= layer < model.num_layers:
                raise ConfigError(
                    f"steering.layers: expected 0 to {model.num_layers - 1}, found {layer}",
                    "steering.layers",
                )
            added[layer] = added.get(layer, 0.0) + alpha * found[name].difference[layer]
    return jax.device_put(make_edits(model, added), NamedSharding(mesh, PartitionSpec()))


def identity(config: SteeringConfig) -> dict[str, str]:
    """Returns a digest of the file, by name; nothing where nothing is steered."""
    if config.vectors is None:
        return {}
    content = pathlib.Path(config.vectors).read_bytes()
    return {"steering vectors": hashlib.sha256(content).hexdigest()[:16]}
