"""The effect of a vector where it is added: which of two known responses becomes likelier."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from dignified_jax.data import BatchStream
from dignified_jax.data.examples import TokenizedExample
from dignified_jax.models import logprobs
from dignified_jax.models.decoder import Decoder, Params
from dignified_jax.models.lora import LoraParams
from dignified_jax.models.residual import Edits

ROW = 1024


def layer_effects(
    model: Decoder,
    params: Params | LoraParams,
    vectors: Float32[np.ndarray, "layer width"],
    examples: Sequence[TokenizedExample],
    alpha: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Float32[np.ndarray, " layer"]:
    """Returns what each layer's vector does when it is added to that layer alone.

    m(a) is the mean over examples of the log-prob per token of the first response less that of the
    second, with a times the vector added to every token; the effect is (m(alpha) - m(-alpha)) / 2,
    in nats per token. No response is generated.

    Args:
      model, params: the decoder, and its parameter tree or that of a base and of LoRA.
      vectors: of each layer.
      examples: a prompt and two responses each, the persona's and its opposite's; the vectors
        were not made from them.
      alpha: multiple of the vector.
      progress: called with the layers done and all of them.
    """
    longest = max(e.prompt.size + sum(r.size for r in e.responses) for e in examples)
    row = -(-max(longest, ROW) // 128) * 128
    batch = BatchStream(examples, batch_size=len(examples), row_length=row, shuffle=False).batch(0)
    margin = _margin(model)
    found = []
    for layer in range(len(vectors)):
        added = np.zeros_like(vectors)
        added[layer] = alpha * vectors[layer]
        sides = [margin(params, batch, Edits(added=jnp.asarray(a))) for a in (added, -added)]
        found.append(float(sides[0] - sides[1]) / 2)
        if progress is not None:
            progress(layer + 1, len(vectors))
    return np.array(found, np.float32)


@functools.lru_cache(maxsize=4)
def _margin(model: Decoder) -> Callable[..., jax.Array]:
    @jax.jit
    def margin(params: Params | LoraParams, batch: logprobs.Packed, edits: Edits) -> jax.Array:
        sums = logprobs.response_log_probs(model, params, batch, edits)
        means = sums / jnp.maximum(batch.response_length, 1)
        return jnp.mean(means[:, 0] - means[:, 1])

    return margin
