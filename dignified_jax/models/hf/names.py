"""Hugging Face tensor names and the leaves of our parameter tree that hold them.

Ours are named alike, stack the layers on a leading axis, and store kernels (in, out), the
transpose of theirs.
"""

from __future__ import annotations

import dataclasses

from dignified_jax.models.config import DecoderConfig

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a Hugging Face checkpoint.

    Attributes:
      name: its name there, such as "model.layers.0.mlp.up_proj.weight".
      leaf: path of our leaf, such as "layers/mlp/up_proj/kernel".
      layer: its place on the leaf's leading axis; None for leaves without one.
      transposed: whether ours is the transpose.
    """

    name: str
    leaf: str
    layer: int | None
    transposed: bool


def tensors(config: DecoderConfig) -> list[Tensor]:
    """Every tensor of a checkpoint of `config`, in the order of the forward pass.

    A tied output head is no tensor of its own.
    """
    block = ["input_layernorm"]
    block += [f"self_attn.{part}_proj" for part in "qkvo"]
    block += ["self_attn.q_norm", "self_attn.k_norm"] if config.qk_norm else []
    block += ["post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    found = [Tensor("model.embed_tokens.weight", "embed_tokens/embedding", None, False)]
    for layer in range(config.num_layers):
        for part in block:
            kernel = not part.endswith("norm")
            leaf = "/".join(["layers", *part.split("."), "kernel" if kernel else "scale"])
            found.append(Tensor(f"model.layers.{layer}.{part}.weight", leaf, layer, kernel))
    found.append(Tensor("model.norm.weight", "norm/scale", None, False))
    if not config.tie_word_embeddings:
        found.append(Tensor("lm_head.weight", "lm_head/kernel", None, True))
    return found
