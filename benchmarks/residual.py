"""Costs of reading and editing the residual stream, in a forward pass of packed rows.

    python -m benchmarks.residual --model path/to/model --rounds 12

Every variant is compiled first; then they take turns, in another order each round, so that all meet
the same disturbances. On CPUs the time is that of the process's threads, which other programs
change little; elsewhere it is wall time. Prints the median time of each, and the overhead: the
median over rounds of its time over that of the plain pass in the same round, with a 95% interval
(bootstrap over rounds).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.evaluation import models
from dignified_jax.models.attention.token_tree import causal_tree
from dignified_jax.models.decoder import Decoder
from dignified_jax.models.lora import variables
from dignified_jax.models.residual import Cap, Capture, Edits, make_edits

PLAIN = "plain"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded:tiny-qwen3")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    options = parser.parse_args()
    model = models.load("model", options.model, options.dtype)
    passes = _passes(model.module, (options.rows, options.length))
    weights = variables(model.params)
    for run in passes.values():
        jax.block_until_ready(run(weights))
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    rng = np.random.default_rng(0)
    for _ in range(options.rounds):
        for name in rng.permutation(list(passes)):
            started = clock()
            jax.block_until_ready(passes[name](weights))
            seconds[name].append(clock() - started)
    plain = np.array(seconds[PLAIN])
    drawn = rng.integers(0, len(plain), (2000, len(plain)))
    for name, found in seconds.items():
        more = 100 * (np.array(found) / plain - 1)
        low, high = np.quantile(np.median(more[drawn], axis=1), [0.025, 0.975])
        print(
            f"{name:<28} median {np.median(found):.4f} s, {np.median(more):+.1f}% "
            f"({low:+.1f} to {high:+.1f})"
        )


def _passes(
    model: Decoder, shape: tuple[int, int]
) -> dict[str, Callable[[dict], tuple[jax.Array, ...]]]:
    """Name -> a compiled forward pass."""
    rows, length = shape
    config = model.config
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.integers(1, config.vocab_size, shape), jnp.int32)
    vectors = rng.normal(size=(config.num_layers, config.hidden_size)).astype(np.float32)
    spans = np.zeros((rows, 32, length), np.float32)
    spans[:, :, : length // 2] = 2 / length
    added = make_edits(config, dict(enumerate(vectors)))
    caps = [Cap(layer, vector, -1.0, 1.0) for layer, vector in enumerate(vectors)]
    one_layer = make_edits(config, caps=[caps[config.num_layers // 2]])
    every_layer = make_edits(config, caps=caps)

    def run(edits: Edits | None, capture: Capture | None) -> Callable[[dict], tuple]:
        def apply(weights: dict, edits: Edits | None, capture: Capture | None) -> tuple:
            tree = causal_tree(*shape)
            if capture is None:
                method = Decoder.hidden_states
                return (model.apply(weights, tokens, None, tree, edits, method=method),)
            method = Decoder.hidden_states_and_stream
            return model.apply(weights, tokens, None, tree, edits, capture, method=method)

        compiled = jax.jit(apply)
        return lambda weights: compiled(weights, edits, capture)

    return {
        PLAIN: run(None, None),
        "every state of all layers": run(None, Capture()),
        "32 means of all layers": run(None, Capture(jnp.asarray(spans))),
        "a vector at every layer": run(added, None),
        "a cap at one layer": run(one_layer, None),
        "a cap at every layer": run(every_layer, None),
    }


if __name__ == "__main__":
    main()
