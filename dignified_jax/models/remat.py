"""Rematerialisation: how much of a layer's forward pass is kept for its backward pass, by name.

The less is kept, the more is computed a second time; gradients are the same.
"""

from __future__ import annotations

from typing import Literal, get_args

import jax
from flax import linen as nn

from dignified_jax.models.attention.checkpoint_names import ATTENTION_INPUT, ATTENTION_OUTPUT

Remat = Literal["none", "dots", "attention", "full"]


def rematerialised(block: type[nn.Module], remat: Remat) -> type[nn.Module]:
    """A scanned Linen module class that keeps, from most to least memory:

    - "none": everything that its gradient reads;
    - "dots": the layer's input, the products with weights, and the attention's output;
    - "attention": the layer's input, and queries, keys, values and output of the attention; the
      attention's last product and the feed-forward network are computed twice;
    - "full": the layer's input.

    The output is kept where the attention is ours (`attention.blocks`); the kernels of GPUs and
    TPUs do not give away what their backward pass needs, and run twice except with "none".

    Raises:
      ValueError: `remat` is not a name.
    """
    policies = jax.checkpoint_policies
    output = policies.save_only_these_names(ATTENTION_OUTPUT)
    match remat:
        case "none":
            return block
        case "dots":
            products = policies.dots_with_no_batch_dims_saveable
            kept = policies.save_from_both_policies(products, output)
        case "attention":
            kept = policies.save_only_these_names(ATTENTION_INPUT, ATTENTION_OUTPUT)
        case "full":
            kept = policies.nothing_saveable
        case _:
            names = ", ".join(get_args(Remat))
            raise ValueError(f"remat: expected one of {names}, found {remat!r}")
    # The scan keeps recomputation from being merged with the first pass already.
    return nn.remat(block, prevent_cse=False, policy=kept)
