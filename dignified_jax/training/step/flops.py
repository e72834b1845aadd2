"""Useful floating-point operations of a packed batch, and how much of the hardware they use.

Model FLOPs utilisation (MFU) as in Chowdhery et al., "PaLM" (2022), appendix B: only what the
mathematics needs is counted. A multiply-add is two operations; the backward pass costs twice the
forward pass; padding, invisible (query, key) pairs and recomputation are not counted, nor is
what is not a matrix product.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np

from dignified_jax.data import PackedBatch
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import abstract_lora, abstract_params
from dignified_jax.models.experts import EXPERTS
from dignified_jax.models.lora import LoraConfig
from dignified_jax.objectives import Objective

# Peak dense FLOP/s of one JAX device by the start of its `device_kind`; the first entry that fits
# counts, and an empty one is a device without a figure known to us.
# TPU: cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e,tpu7x}, bfloat16 per chip. A chip is one JAX
#   device, but for TPU7x (2307 TFLOP/s a chip), where each of its two cores is one.
# GPU: NVIDIA's white papers of A100 and H100 and data sheets of H200 and HGX B200 (half the sparse
#   figures there); bfloat16 and, for float32, TF32, XLA's default for float32 products on them.
_PEAKS: tuple[tuple[str, dict[str, float]], ...] = (
    ("TPU v4 lite", {}),
    ("TPU v4", {"bfloat16": 275e12}),
    ("TPU v5 lite", {"bfloat16": 197e12}),
    ("TPU v5e", {"bfloat16": 197e12}),
    ("TPU v5", {"bfloat16": 459e12}),  # v5p calls itself "TPU v5" or "TPU v5p"
    ("TPU v6", {"bfloat16": 918e12}),
    ("TPU7x", {"bfloat16": 2307e12 / 2}),
    ("NVIDIA A100", {"bfloat16": 312e12, "float32": 156e12}),
    ("NVIDIA H100 PCIe", {"bfloat16": 756e12, "float32": 378e12}),
    ("NVIDIA H100 NVL", {}),
    ("NVIDIA H100", {"bfloat16": 989.4e12, "float32": 494.7e12}),
    ("NVIDIA H200 NVL", {}),
    ("NVIDIA H200", {"bfloat16": 989.4e12, "float32": 494.7e12}),
    ("NVIDIA B200", {"bfloat16": 2250e12, "float32": 1100e12}),
)


def peak_flops(device_kind: str, dtype: str) -> float | None:
    """Dense FLOP/s of a device for products in `dtype`; None where it is not known.

    Args:
      device_kind: of a `jax.Device`. A slice of a GPU ("... MIG ...") has no figure.
      dtype: "bfloat16" or "float32".
    """
    if " MIG " in device_kind:
        return None
    for prefix, peaks in _PEAKS:
        if device_kind.startswith(prefix):
            return peaks.get(dtype)
    return None


def useful_tokens(batch: PackedBatch) -> int:
    """Tokens of prompts and responses in the rows of a batch, padding not counted."""
    return int(batch.segments[..., 3].sum(dtype=np.int64))


def useful_flops(
    config: DecoderConfig,
    batch: PackedBatch,
    needs_reference: bool,
    lora: LoraConfig = LoraConfig(),  # noqa: B008  (frozen)
    objective: Objective | None = None,
) -> float:
    """FLOPs that a training step on the rows of a batch needs.

    With N tokens, S of them response tokens to predict, and P visible (query, key) pairs, the
    forward pass costs

        2 (N x layer weights x layers + S x hidden x vocabulary) + 4 P x heads x head_dim x layers

    where the weights of a layer's experts count as far as a token goes through them,
    and the backward pass twice that. With LoRA no gradient of the weights themselves is needed, so
    that their part of the backward pass costs once the forward pass, and LoRA's matrices are added.

    A sliding window makes fewer pairs visible in the layers that have it.

    An objective that combines the gradients of the dimensions' losses has a backward pass for each
    of them, over the prompts, goldens and rejects that the loss depends on.

    Args:
      config: the decoder's geometry.
      batch: NumPy arrays; in a run of several processes, this process's rows.
      needs_reference: whether the reference's forward pass is part of the step.
      lora: the matrices that have LoRA beside them.
      objective: what is optimised; None for one with a single gradient.
    """
    weights, mixing, beside = _forward(config, batch, lora)
    reference = (weights + mixing) if needs_reference else 0.0
    parts = (batch,) if objective is None else _differentiated(batch, objective)
    backward = sum(_backward(config, part, lora) for part in parts)
    return weights + mixing + beside + backward + reference


def _backward(config: DecoderConfig, batch: PackedBatch, lora: LoraConfig) -> float:
    weights, mixing, beside = _forward(config, batch, lora)
    return (1.0 if lora.enabled else 2.0) * weights + 2.0 * (mixing + beside)


def _differentiated(batch: PackedBatch, objective: Objective) -> tuple[PackedBatch, ...]:
    """Returns what each gradient of a step depends on."""
    if not objective.combines_gradients:
        return (batch,)
    mask = np.asarray(batch.response_mask)
    parts = [_part(batch, (0, k), mask[:, k]) for k in range(1, mask.shape[1])]
    if objective.golden_nll:
        parts.append(_part(batch, (0,), mask[:, 0]))
    return tuple(parts)


def _part(batch: PackedBatch, responses: tuple[int, ...], examples: np.ndarray) -> PackedBatch:
    """Returns a batch with the prompts and the responses of these numbers of some examples alone.

    Args:
      batch: NumPy arrays.
      responses: 0 for golden.
      examples: (example,) bool.
    """
    count, each = batch.response_mask.shape
    kept_examples = np.append(examples, False)  # unused slots are of one past the end
    example, number = np.divmod(batch.response, each)
    slots = kept_examples[example] & np.isin(number, responses)
    # Slots are in the order of the segments; a prompt stands before its first response.
    is_prompt, length = batch.segments[..., 1] == 0, batch.segments[..., 3]
    own = np.where(is_prompt, 0, length)
    first = np.minimum(np.cumsum(own, axis=-1) - own, batch.response.shape[-1] - 1)
    example, number = (np.take_along_axis(found, first, axis=-1) for found in (example, number))
    kept = kept_examples[example] & (is_prompt | np.isin(number, responses))
    segments = np.array(batch.segments)
    segments[..., 3] = np.where(kept, length, 0)
    response = np.where(slots, batch.response, count * each)
    return dataclasses.replace(batch, segments=segments, response=response)


def forward_flops(
    config: DecoderConfig,
    batch: PackedBatch,
    lora: LoraConfig = LoraConfig(),  # noqa: B008  (frozen)
) -> float:
    """Those of the policy's forward pass; arguments as in `useful_flops`."""
    return sum(_forward(config, batch, lora))


def _forward(
    config: DecoderConfig, batch: PackedBatch, lora: LoraConfig
) -> tuple[float, float, float]:
    """Returns those of the products with weights, of attention, and of LoRA."""
    prompt, length = np.moveaxis(batch.segments[..., [1, 3]].astype(np.int64), -1, 0)
    # A segment sees its prompt, and itself causally: its tokens are the last of a causal sequence.
    pairs = {
        window: float((_causal(prompt + length, window) - _causal(prompt, window)).sum())
        for window in set(config.windows)
    }
    predicted = float((batch.response < batch.response_mask.size).sum())

    hidden, width = config.hidden_size, config.head_dim
    tokens = useful_tokens(batch)
    weights = 2.0 * (tokens * _matrices(config) + predicted * hidden * config.vocab_size)
    mixing = 4.0 * sum(pairs[window] for window in config.windows) * config.num_heads * width
    beside = _lora_matrices(config, lora) if lora.enabled else 0
    return weights, mixing, 2.0 * tokens * beside


def _causal(length: np.ndarray, window: int | None) -> np.ndarray:
    """Visible pairs of causal sequences of given lengths, within a window if there is one."""
    inside = length if window is None else np.minimum(length, window)
    return inside * (inside + 1) // 2 + (length - inside) * inside


@functools.cache
def _matrices(config: DecoderConfig) -> float:
    """Entries of all layers' matrices that a token meets."""
    leaves = jax.tree.leaves_with_path(abstract_params(config)["layers"])
    entries = float(sum(leaf.size for path, leaf in leaves if path[-1].key == "kernel"))
    if (experts := config.experts) is not None:
        held = sum(leaf.size for path, leaf in leaves if path[-2].key == EXPERTS)
        entries += held * experts.per_token / experts.count
    return entries


@functools.cache
def _lora_matrices(config: DecoderConfig, lora: LoraConfig) -> int:
    """Entries of LoRA's matrices."""
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_lora(config, lora)))


def utilisation(flops: float, seconds: float, devices: int, peak: float) -> float:
    """MFU of `devices` that did `flops` useful operations in `seconds`, `peak` FLOP/s each."""
    return flops / (seconds * devices * peak)
