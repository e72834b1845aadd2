"""LoRA: a product of two low-rank matrices beside a frozen one, as a second tree of variables.

    y = x W + s (x A) B        A (in, rank), B (rank, out), s = alpha / rank or alpha / sqrt(rank)

Hu et al., "LoRA" (2021); the second scale keeps outputs of one size whatever the rank
(Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA", 2023). A is drawn
as PEFT does and B is 0, so that training begins with the base. W + s A B is never formed here.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, NamedTuple

import jax
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import PyTree

from dignified_jax.models.config import DecoderConfig
from dignified_jax.typed_config import Bounds, Positive, check_bounds

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
TARGETS = (*_ATTENTION, "gate_proj", "up_proj", "down_proj")
# Linen collection of the second tree, and the names of its leaves.
COLLECTION, A, B = "lora", "lora_a", "lora_b"
_DEFAULT_ALPHA = 32.0


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Which matrices have LoRA beside them, and of what size. Without a rank, none.

    Attributes:
      rank: columns of A; None trains the whole model.
      alpha: numerator of the scale; None means 32.
      targets: matrices, of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj; empty
        means all of them. Experts have none: there it is the first four.
      rslora: the scale is alpha / sqrt(rank) rather than alpha / rank.
    """

    rank: Annotated[int, Bounds("[1, 65536]")] | None = None
    alpha: Positive | None = None
    targets: tuple[str, ...] = ()
    rslora: bool = False

    def __post_init__(self) -> None:
        check_bounds(self, "lora.")
        unknown = [name for name in self.targets if name not in TARGETS]
        if unknown:
            raise ValueError(f"lora.targets must be of {', '.join(TARGETS)}, found {unknown[0]!r}")
        if len(set(self.targets)) < len(self.targets):
            raise ValueError(f"lora.targets must name each once, found {self.targets}")
        if self.rank is None:
            for name in ("alpha", "targets", "rslora"):
                if getattr(self, name) not in (None, (), False):
                    raise ValueError(f"lora.{name} has no meaning without lora.rank")

    @property
    def enabled(self) -> bool:
        """True where some matrix has LoRA beside it."""
        return self.rank is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The matrices that have it, in the order of a layer."""
        if not self.enabled:
            return ()
        return tuple(name for name in TARGETS if name in (self.targets or TARGETS))

    @property
    def numerator(self) -> float:
        """alpha, or its default."""
        return _DEFAULT_ALPHA if self.alpha is None else float(self.alpha)

    @property
    def scale(self) -> float:
        """s, for a configuration with a rank."""
        return self.numerator / (math.sqrt(self.rank) if self.rslora else self.rank)


def check_targets(lora: LoraConfig, config: DecoderConfig) -> None:
    """Checks that a model has the matrices that `lora` names.

    Raises:
      ValueError: names one that is not there.
    """
    for name in lora.targets if config.experts is not None else ():
        if name not in _ATTENTION:
            raise ValueError(
                f"lora.targets: of {config.architecture}, which has experts, expected some of "
                f"{', '.join(_ATTENTION)}, found {name!r}"
            )


class LoraParams(NamedTuple):
    """Parameters of a policy that is a frozen model with LoRA.

    Attributes:
      base: the parameter tree of the frozen model.
      lora: the tree of LoRA's matrices.
    """

    base: dict[str, Any]
    lora: dict[str, Any]


def policy(params: PyTree, base: PyTree) -> PyTree:
    """The policy whose trained tree is `params`: over a frozen base, or whole without one."""
    return params if base is None else LoraParams(base, params)


def variables(params: dict[str, Any] | LoraParams) -> dict[str, Any]:
    """The Linen variables of a whole parameter tree, or of one with LoRA."""
    if isinstance(params, LoraParams):
        return {"params": params.base, COLLECTION: params.lora}
    return {"params": params}


class LoraDense(nn.Module):
    """`flax.linen.Dense`, its parameters' paths unchanged, with LoRA beside it.

    Attributes:
      features: of the output.
      lora: rank and scale.
      dtype: of the products.
      kernel_init: of the frozen kernel.
      use_bias: whether the product has a bias.
    """

    features: int
    lora: LoraConfig
    dtype: DTypeLike
    kernel_init: nn.initializers.Initializer
    use_bias: bool = False

    def setup(self) -> None:
        self.dense = nn.Dense(
            self.features,
            use_bias=self.use_bias,
            dtype=self.dtype,
            kernel_init=self.kernel_init,
        )
        nn.share_scope(self, self.dense)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        rank = self.lora.rank
        # Uniform in +-1/sqrt(in), PEFT's kaiming_uniform_(a=sqrt(5)).
        uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        a = self._matrix(A, uniform, (x.shape[-1], rank))
        b = self._matrix(B, nn.initializers.zeros, (rank, self.features))
        low = x.astype(self.dtype) @ a.astype(self.dtype)
        return self.dense(x) + (self.lora.scale * low) @ b.astype(self.dtype)

    def _matrix(
        self, name: str, init: nn.initializers.Initializer, shape: tuple[int, int]
    ) -> jax.Array:
        draw = lambda: init(self.make_rng("params"), shape)  # noqa: E731
        return self.variable(COLLECTION, name, draw).value
