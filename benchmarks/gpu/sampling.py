"""Tokens a second of the sampler, with random weights."""

from __future__ import annotations

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.gpu.result import Result, emit
from benchmarks.gpu.sizes import GEOMETRIES, SIZES
from dignified_jax.generation import Queue, Settings, TokenRequest
from dignified_jax.models.decoder import Decoder
from dignified_jax.training.inputs import model as input_model
from dignified_jax.training.step import sharding


def measure(size: str) -> None:
    """Emits the speed of greedy sampling in bfloat16; programs are compiled in a first turn."""
    name, sequences, prompt, new = SIZES[size].sampler
    mesh = sharding.make_mesh(sharding.MeshConfig(), jax.devices()[:1])
    model = Decoder(GEOMETRIES[name], dtype=jnp.dtype("bfloat16"))
    params = input_model.freeze(input_model.draw(model, "params", "float32", 0, mesh), "bfloat16")
    rng = np.random.default_rng(0)
    prompts = rng.integers(3, GEOMETRIES[name].vocab_size, (2 * sequences, prompt))
    part = f"sampler, {name}, {sequences} sequences at a time"
    for turn in ("first", "second"):
        queue = Queue(model, params, (), Settings(batch_size=sequences))
        for number, ids in enumerate(prompts.tolist()):
            queue.add(TokenRequest(str(number), tuple(ids), new, 0))
        began = time.perf_counter()
        sampled = 0
        while queue.busy:
            sampled += sum(len(done.tokens) for done in queue.step())
        seconds = time.perf_counter() - began
        if turn == "first":
            emit(Result(part, "first turn, with compilation", seconds, "s"))
    note = f"{len(prompts)} prompts of {prompt} tokens, {new} new ones each"
    emit(Result(part, "new tokens", sampled / seconds, "1/s", note=note))
    emit(Result(part, "all were sampled", passed=sampled == len(prompts) * new))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, required=True)
    measure(parser.parse_args().size)
