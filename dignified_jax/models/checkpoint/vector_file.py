"""Vectors on disk: a safetensors file that says where they come from."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from dignified_jax.files import atomic
from dignified_jax.models.config import DecoderConfig

_KEY = "dignified_jax"
_PARTS = ("difference", "toward", "away")


Vector = Float32[np.ndarray, "layer width"]


class VectorFileError(ValueError):
    """A file of vectors is not what it should be, or not of this model; names the file."""


@dataclasses.dataclass(frozen=True)
class PersonaVector:
    """A direction at each layer.

    Attributes:
      name: of the dimension.
      difference: positive less negative.
      toward: positive less neutral.
      away: negative less neutral.
      layer: the chosen one.
    """

    name: str
    difference: Vector
    toward: Vector
    away: Vector
    layer: int

    @property
    def unit(self) -> Vector:
        """The difference scaled to length 1 at each layer; 0 where there is none."""
        length = np.linalg.norm(self.difference, axis=-1, keepdims=True)
        return np.divide(
            self.difference, length, out=np.zeros_like(self.difference), where=length > 0
        )


@dataclasses.dataclass(frozen=True)
class VectorFile:
    """Vectors with their provenance.

    Attributes:
      vectors: name -> vector.
      provenance: JSON values: model, pairs, settings, and what they were measured by.
    """

    vectors: Mapping[str, PersonaVector]
    provenance: Mapping[str, Any]


def write(
    file: str | pathlib.Path, vectors: Sequence[PersonaVector], provenance: Mapping[str, Any]
) -> None:
    """Writes vectors, whole or not at all: tensors NAME.difference, NAME.toward and NAME.away,
    each (layer, width) float32; layers and provenance as JSON in the file's metadata."""
    from safetensors.numpy import save_file

    tensors = {
        f"{vector.name}.{part}": np.ascontiguousarray(getattr(vector, part), np.float32)
        for vector in vectors
        for part in _PARTS
    }
    layers = {vector.name: vector.layer for vector in vectors}
    told = json.dumps({"layers": layers, "provenance": provenance})
    with atomic.replacing(file) as partial:
        save_file(tensors, partial, {_KEY: told})


def read(file: str | pathlib.Path, config: DecoderConfig | None = None) -> VectorFile:
    """Reads vectors.

    Args:
      file: that `write` wrote.
      config: of the model they are for; None checks nothing of it.

    Raises:
      VectorFileError: another file, or vectors of a model of another size.
      OSError: it can't be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "numpy") as stored:
            told = json.loads((stored.metadata() or {})[_KEY])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        layers, provenance = told["layers"], told["provenance"]
        vectors = {
            name: PersonaVector(name, *(tensors[f"{name}.{part}"] for part in _PARTS), int(layer))
            for name, layer in layers.items()
        }
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise VectorFileError(
            f"{file}: expected vectors that `analyze vectors` wrote, found another file ({error})"
        ) from error
    for name, vector in vectors.items():
        shape = vector.difference.shape
        if config is not None and shape != (config.num_layers, config.hidden_size):
            raise VectorFileError(
                f"{file}: {name} is of a model of {shape[0]} layers of width {shape[1]}, and this "
                f"one has {config.num_layers} of width {config.hidden_size}"
            )
    return VectorFile(vectors, provenance)
