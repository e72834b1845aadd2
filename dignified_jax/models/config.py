"""Decoder hyperparameters: what a Hugging Face ``config.json`` says of the mathematics."""

from __future__ import annotations

import dataclasses
import math

from dignified_jax.models.rotary import RopeScaling

# Fields younger than the first checkpoints.
_LATER = (
    *("sliding_window", "no_rope_layers", "sliding_layers", "local_rope_theta"),
    *("query_pre_attn_scalar", "experts"),
)


class UnsupportedModelError(ValueError):
    """The checkpoint needs mathematics that the decoder does not implement."""


@dataclasses.dataclass(frozen=True)
class Experts:
    """Feed-forward networks of a layer, of which each token goes through a few.

    Attributes:
      count: how many a layer has.
      per_token: through how many a token goes.
      intermediate_size: units of each.
      normalised: whether the weights of a token's experts sum to 1.
      parts: devices over which they are split.
    """

    count: int
    per_token: int
    intermediate_size: int
    normalised: bool
    parts: int = 1

    def __post_init__(self) -> None:
        if self.per_token > self.count:
            raise ValueError(
                f"num_experts_per_tok ({self.per_token}) is more than num_experts ({self.count})"
            )


@dataclasses.dataclass(frozen=True, repr=False)
class DecoderConfig:
    """Geometry of a decoder. Hashable, so that modules holding it can be.

    Attributes:
      architecture: name in ``config.json``, by which `families.of` finds how layers differ.
      sliding_window: a query sees keys less than so many positions before it; None sees all.
      no_rope_layers: indices of the layers without rotary embeddings.
      sliding_layers: indices of the layers that have the sliding window; None for all.
      local_rope_theta: base of the rotary embeddings, never stretched, in `sliding_layers`; None
        where they have those of the others.
      query_pre_attn_scalar: scores are divided by its square root; None for head_dim.
      experts: in place of each layer's one feed-forward network.
    """

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope_theta: float
    rope_scaling: RopeScaling | None = None
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    max_position_embeddings: int = 32768
    initializer_range: float = 0.02
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None
    pad_token_id: int | None = None
    sliding_window: int | None = None
    no_rope_layers: tuple[int, ...] = ()
    sliding_layers: tuple[int, ...] | None = None
    local_rope_theta: float | None = None
    query_pre_attn_scalar: float | None = None
    experts: Experts | None = None

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_attention_heads ({self.num_heads}) must be a multiple of "
                f"num_key_value_heads ({self.num_kv_heads})"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even for rotary embeddings, found {self.head_dim}")

    @property
    def windows(self) -> tuple[int | None, ...]:
        """Returns the sliding window of each layer."""
        layers = range(self.num_layers)
        slides = layers if self.sliding_layers is None else self.sliding_layers
        return tuple(self.sliding_window if layer in slides else None for layer in layers)

    @property
    def query_scale(self) -> float:
        """Returns the factor of queries, beyond which scores are divided by sqrt(head_dim)."""
        return math.sqrt(self.head_dim / (self.query_pre_attn_scalar or self.head_dim))

    def computes_like(self, other: DecoderConfig) -> bool:
        """Says whether two decoders differ in nothing but the ids of special tokens.

        An export may name other tokens that end a reply than the model it was trained from.
        """
        ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
        return dataclasses.replace(self, **ids) == dataclasses.replace(other, **ids)

    def __repr__(self) -> str:
        # Runs know their model by this text: fields that came later are in it only where they say
        # something, so that a run begun before them goes on.
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if field.name not in _LATER or getattr(self, field.name) != field.default
        ]
        return f"DecoderConfig({', '.join(shown)})"
