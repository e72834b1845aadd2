"""Section `model`: the decoder to start from, and how it computes."""

from __future__ import annotations

import dataclasses
from typing import Literal

from dignified_jax.typed_config import NonNegative, Place, check_bounds


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The decoder to start from.

    Attributes:
      path: Hugging Face directory, hub id, or "embedded:NAME".
      init: "pretrained" loads the weights; "random" draws new ones for the path's config.json.
      param_dtype: of the parameters that are trained and their update. In bfloat16 an update below
        half a step of the number that it changes is lost.
      compute_dtype: of matrix products; also of the frozen reference's matrices, and of those
        under LoRA.
      remat: what each layer keeps for the backward pass, which computes the rest again; from least
        memory to most: "full" keeps the layer's input, "attention" also what enters the attention,
        "dots" the products with weights instead, "none" recomputes nothing (`models.remat`).
      attention: how the token tree is attended: "auto" chooses by platform; "cudnn" is for NVIDIA
        GPUs with bfloat16, "splash" for TPUs, "blocks" suits CPUs, "segments" and "dense" run
        anywhere (`models.attention`).
      export_dtype: of the exported weights; None keeps the dtype of the files loaded.
      router_aux_loss_coef: weight in the loss of how unevenly the router of a model with experts
        loads them (`experts/balance_loss` in the metrics, which the metric `loss` leaves out).
    """

    path: Place = "embedded:tiny-qwen3"
    init: Literal["pretrained", "random"] = "pretrained"
    param_dtype: Literal["float32", "bfloat16"] = "float32"
    compute_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    remat: Literal["none", "dots", "attention", "full"] = "full"
    attention: Literal["auto", "dense", "segments", "blocks", "cudnn", "splash"] = "auto"
    export_dtype: Literal["float32", "bfloat16"] | None = None
    router_aux_loss_coef: NonNegative = 0.0

    def __post_init__(self) -> None:
        check_bounds(self, "model.")
