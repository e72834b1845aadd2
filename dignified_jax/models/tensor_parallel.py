"""One row's computation split over the devices of the mesh axis ``tensor``.

Shoeybi et al., "Megatron-LM" (2019): of each pair of matrices the first is split by output and
the second by input, so that a layer sums over devices twice; heads go with the matrices. The
embedding and the output kernel are split by vocabulary. For use where the axis is manual
(`jax.shard_map` with check_vma=False).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.partition import TENSOR_AXIS


@dataclasses.dataclass(frozen=True)
class TensorParallel:
    """`size` devices that compute a row together; every method is trivial for one."""

    size: int = 1

    def local(self, config: DecoderConfig) -> DecoderConfig:
        """The geometry of one device's part.

        Raises:
          ValueError: a number that has to be divided is not a multiple of `size`.
        """
        experts = config.experts
        names = ["num_heads", "num_kv_heads", "vocab_size"]
        names += ["intermediate_size"] if experts is None else []
        sizes = {name: getattr(config, name) for name in names}
        divided = sizes if experts is None else sizes | {"num_experts": experts.count}
        for name, value in divided.items():
            if value % self.size:
                raise ValueError(
                    f"mesh.tensor={self.size} does not divide the model's {name} {value}"
                )
        parts = {name: value // self.size for name, value in sizes.items()}
        if experts is not None:
            parts["experts"] = dataclasses.replace(experts, parts=self.size)
        return dataclasses.replace(config, **parts)

    def enter(self, x: jax.Array) -> jax.Array:
        """Passes on what all devices share to what each computes; sums the gradient."""
        return x if self.size == 1 else _enter(x)

    def leave(self, x: jax.Array) -> jax.Array:
        """Sum of the devices' parts; the gradient of the sum is that of every part."""
        return x if self.size == 1 else _leave(x)

    def own(self, ids: jax.Array, vocab: int) -> tuple[jax.Array, jax.Array]:
        """(index among this device's `vocab` entries, whether it is one of them) of token ids."""
        if self.size == 1:
            return ids, jnp.ones(ids.shape, bool)
        index = ids - jax.lax.axis_index(TENSOR_AXIS) * vocab
        inside = (index >= 0) & (index < vocab)
        return jnp.where(inside, index, 0), inside

    def logsumexp(self, logits: jax.Array) -> jax.Array:
        """Log-sum-exp over the last axis, of which each device holds a part."""
        if self.size == 1:
            return jax.nn.logsumexp(logits, axis=-1)
        largest = jax.lax.pmax(jax.lax.stop_gradient(logits.max(axis=-1)), TENSOR_AXIS)
        sums = jnp.exp(logits - largest[..., None]).sum(axis=-1)
        return largest + jnp.log(_leave(sums))


@jax.custom_vjp
def _enter(x: jax.Array) -> jax.Array:
    return x


_enter.defvjp(
    lambda x: (x, None),
    lambda _, gradient: (jax.lax.psum(gradient, TENSOR_AXIS),),
)


# The transpose that JAX gives psum here would sum the gradient once more.
@jax.custom_vjp
def _leave(x: jax.Array) -> jax.Array:
    return jax.lax.psum(x, TENSOR_AXIS)


_leave.defvjp(lambda x: (_leave(x), None), lambda _, gradient: (gradient,))
