"""Time of `mfrm.fit` by number of ratings, which are drawn on the device."""

from __future__ import annotations

import argparse
import time
from functools import partial

import jax
import jax.numpy as jnp

from benchmarks.gpu.result import Result, emit
from benchmarks.gpu.sizes import SIZES
from dignified_jax import mfrm

MODELS, JUDGES, ITEMS = 20, 4, 12
PART = "mfrm.fit"


@partial(jax.jit, static_argnums=0)
def simulate(questions: int) -> tuple[jax.Array, jax.Array]:
    """(successes, true scores) of complete ratings of models that are -1 to 1 logits good."""
    keys = jax.random.split(jax.random.key(0), 5)
    scores = jnp.linspace(-1, 1, MODELS)
    quality = scores[:, None] + 0.5 * jax.random.normal(keys[0], (MODELS, questions))
    facets = [0.5 * jax.random.normal(k, (n,)) for k, n in zip(keys[1:3], (JUDGES, ITEMS))]  # noqa: B905
    logit = quality[..., None, None] - facets[0][:, None] - facets[1]
    drawn = jax.random.bernoulli(keys[4], jax.nn.sigmoid(logit))
    return drawn.astype(jnp.float32), scores


def measure(count: float) -> None:
    """Emits seconds of a fit with all standard errors, compiled before."""
    questions = max(2, round(count / (MODELS * JUDGES * ITEMS)))
    ratings, scores = jax.block_until_ready(simulate(questions))
    name = f"{ratings.size:,} ratings"
    trials = jnp.ones_like(ratings)
    fit = jax.jit(lambda y, n: mfrm.fit(y, n, method="ridge")).lower(ratings, trials).compile()
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        found = jax.block_until_ready(fit(ratings, trials))
        seconds.append(time.perf_counter() - began)
    note = (
        f"best of 3; {int(found.iterations)} iterations, {min(seconds) / count * 1e9:.2f} ns each"
    )
    emit(Result(PART, name, min(seconds), "s", note=note))
    order = bool(jnp.corrcoef(found.score, scores)[0, 1] > 0.9)
    emit(Result(PART, f"{name}: the models' order is found", passed=order))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument(
        "--number", type=int, required=True, help="of the size's numbers of ratings"
    )
    options = parser.parse_args()
    measure(SIZES[options.size].ratings[options.number])
