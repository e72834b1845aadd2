"""The declaration of a model family: how its ``config.json`` reads, and how its layer differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from flax import linen as nn

from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.layers import Block, Traits
from dignified_jax.models.partition import Split

# Fields of a config.json, with transformers' defaults where it has none.
Fields = Mapping[str, Any]


def _nothing_read(fields: Fields, where: str) -> dict[str, Any]:
    return {}


def _unscaled(config: DecoderConfig) -> float:
    return 1.0


def _nothing_written(config: DecoderConfig) -> dict[str, Any]:
    return {}


@dataclasses.dataclass(frozen=True)
class Wrapper:
    """A kind of checkpoint that holds a text model among others; only that is read.

    Attributes:
      architecture, model_type: its names in config.json.
      fields: key there of the text model's own fields.
      prefixes: in front of the names of the text model's tensors; the first one is what
        transformers' modules have today.
      others: prefixes of all other tensors.
    """

    architecture: str
    model_type: str
    fields: str
    prefixes: tuple[str, ...]
    others: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Family:
    """A model family. Whatever a declaration leaves out is as in Llama.

    Attributes:
      architecture, model_type: its names in config.json.
      traits: how its layer differs from Llama's, in ways that `layers` knows.
      layer: a layer of its own, with the fields, arguments and results of `layers.Block`.
      embedding_scale: factor of the embeddings that enter the first layer.
      windows: ``layer_types`` says which layers have the window ``sliding_window``.
      wrapper: checkpoints of more than text that hold such a model.
      reads: names of the fields that `read` looks at.
      read: fields of `DecoderConfig` beyond the common ones, from those of config.json and the
        file's name; raises `UnsupportedModelError` where they ask for what is not implemented.
      write: fields of config.json beyond the common ones.
      only: field of config.json -> the only values that are implemented, beyond the common ones.
      renamed: our path of a module in a layer -> its path in checkpoints, where they differ, such
        as "mlp/up_proj" -> "feed_forward.w3".
      splits: how its own layer's parameters lie on a mesh, by the two last components of their
        path; those of `layers` are known to `partition`, and any others are whole on each device.
    """

    architecture: str
    model_type: str
    traits: Traits = Traits()  # noqa: RUF009  (frozen)
    layer: type[nn.Module] = Block
    embedding_scale: Callable[[DecoderConfig], float] = _unscaled
    windows: bool = False
    wrapper: Wrapper | None = None
    reads: tuple[str, ...] = ()
    read: Callable[[Fields, str], dict[str, Any]] = _nothing_read
    write: Callable[[DecoderConfig], dict[str, Any]] = _nothing_written
    only: Mapping[str, tuple[object, ...]] = dataclasses.field(default_factory=dict)
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    splits: Mapping[str, Split] = dataclasses.field(default_factory=dict)
