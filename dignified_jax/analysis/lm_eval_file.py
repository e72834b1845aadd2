"""Edits as the file that the steered models of lm-evaluation-harness read."""

from __future__ import annotations

import pathlib

import numpy as np

from dignified_jax.files import atomic
from dignified_jax.models.residual import Edits


class ExportError(ValueError):
    """The edits have no form there."""


def write(file: str | pathlib.Path, edits: Edits) -> None:
    """Writes a .pt file for `--model steered --model_args pretrained=DIR,steer_path=FILE`.

    Its vectors are added at every token; a projection that is held at one value is its "clamp".

    Raises:
      ExportError: one-sided bounds, an interval, several edits of a layer, or edits of some tokens.
      ModuleNotFoundError: there is no PyTorch.
    """
    import torch

    hooks = {
        f"layers.{layer}": {
            "steering_vector": torch.from_numpy(vector),
            "steering_coefficient": coefficient,
            "action": action,
            "bias": None,
            "head_index": None,
        }
        for layer, (action, vector, coefficient) in _actions(edits).items()
    }
    with atomic.replacing(file) as partial:
        torch.save(hooks, partial)


def _actions(edits: Edits) -> dict[int, tuple[str, np.ndarray, float]]:
    if edits.where is not None:
        raise ExportError("lm-eval steers all tokens, found edits of some")
    found: dict[int, tuple[str, np.ndarray, float]] = {}
    if edits.added is not None:
        for layer, vector in enumerate(np.array(edits.added)):
            if vector.any():
                found[layer] = ("add", vector, 1.0)
    if edits.axes is None:
        return found
    for layer, direction in np.argwhere(np.any(np.asarray(edits.axes), axis=-1)).tolist():
        low, high = (float(bound[layer, direction]) for bound in (edits.low, edits.high))
        if low != high:
            raise ExportError(
                f"layer {layer}: lm-eval holds a projection at one value, found bounds {low:g} "
                f"and {high:g}"
            )
        if layer in found:
            raise ExportError(f"layer {layer}: lm-eval has one edit a layer, found two")
        found[layer] = ("clamp", np.array(edits.axes[layer, direction]), low)
    return found
