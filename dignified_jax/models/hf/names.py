"""Hugging Face tensor names and the leaves of our parameter tree that hold them.

Ours are named alike, stack the layers, and a layer's experts, on leading axes, and store kernels
(in, out), the transpose of theirs.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Container, Mapping

import jax

from dignified_jax.models import families, partition
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import abstract_params
from dignified_jax.models.experts import EXPERTS

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
ADAPTER_FILE = "adapter_model.safetensors"
PREFIX = "model."
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a Hugging Face checkpoint.

    Attributes:
      name: its name there, such as "model.layers.0.mlp.up_proj.weight".
      leaf: path of our leaf, such as "layers/mlp/up_proj/kernel".
      at: its place on the leaf's leading axes: layer, and expert where there are some.
      shape: its shape there.
      transposed: ours is the transpose.
    """

    name: str
    leaf: str
    at: tuple[int, ...]
    shape: tuple[int, ...]
    transposed: bool

    @property
    def size(self) -> int:
        """Number of its entries."""
        return math.prod(self.shape)


@functools.cache
def tensors(config: DecoderConfig) -> tuple[Tensor, ...]:
    """Every tensor of a checkpoint of `config`: embedding, layers, final norm, output head.

    A tied output head is no tensor of its own.
    """
    leaves = {
        partition.path_name(path): leaf.shape
        for path, leaf in jax.tree.leaves_with_path(abstract_params(config))
    }
    renamed = families.of(config.architecture).renamed
    found = [
        Tensor(EMBEDDING, "embed_tokens/embedding", (), leaves["embed_tokens/embedding"], False)
    ]
    for layer in range(config.num_layers):
        for leaf, shape in leaves.items():
            if leaf.startswith("layers/"):
                found += _of_layer(leaf, layer, shape[1:], renamed)
    found.append(Tensor("model.norm.weight", "norm/scale", (), leaves["norm/scale"], False))
    if not config.tie_word_embeddings:
        shape = leaves["lm_head/kernel"][::-1]
        found.append(Tensor(HEAD, "lm_head/kernel", (), shape, True))
    return tuple(found)


def known_as(name: str, config: DecoderConfig, expected: Container[str]) -> str:
    """Returns which of the `expected` names a file's `name` stands for; itself where none.

    It may be of a `Wrapper`'s text model, or of a model without its head ("layers.0..." for
    "model.layers.0...").
    """
    wrapper = families.of(config.architecture).wrapper
    prefixes = () if wrapper is None else wrapper.prefixes
    inner = name.removeprefix(next(filter(name.startswith, prefixes), ""))
    return next((each for each in (inner, PREFIX + inner) if each in expected), inner)


def _of_layer(
    leaf: str, layer: int, shape: tuple[int, ...], renamed: Mapping[str, str]
) -> list[Tensor]:
    module, _, kind = leaf.removeprefix("layers/").rpartition("/")
    prefix = f"{PREFIX}layers.{layer}."
    if module.endswith(f"/{EXPERTS}"):
        place = renamed.get(module, module.replace("/", "."))
        names = [f"{prefix}{place}.{n}.{renamed.get(kind, kind)}.weight" for n in range(shape[0])]
        flipped = shape[:0:-1]
        return [Tensor(name, leaf, (layer, n), flipped, True) for n, name in enumerate(names)]
    place = renamed.get(module, module.replace("/", "."))
    suffix = "bias" if kind == "bias" else "weight"
    transposed = kind == "kernel"
    shape = shape[::-1] if transposed else shape
    return [Tensor(f"{prefix}{place}.{suffix}", leaf, (layer,), shape, transposed)]
