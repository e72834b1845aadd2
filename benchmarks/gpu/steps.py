"""A train step in bfloat16 against float32, its log-probs, and twice the same."""

from __future__ import annotations

import argparse
import os

import jax
import numpy as np

from benchmarks.gpu import problem
from benchmarks.gpu.result import Result, emit
from benchmarks.gpu.sizes import Training

PART = "train step, small model"
# Log-probs are sums over the tokens of a response; bfloat16 has 8 bits.
_LOG_PROB_BOUND = 0.001
_STEP_BOUND = 0.01


def check() -> None:
    """Emits the results, of the two-layer geometry."""
    training = Training("tiny", None, 2, 1024)
    device, host = jax.devices()[0], jax.devices("cpu")[0]
    with jax.default_device(host), jax.default_matmul_precision("highest"):
        exact = problem.make(training, "float32", host, attention="dense")
        first = problem.host(exact.first)  # the step takes the state's own
        expected = np.asarray(exact.score(exact.first, *exact.rows()))
        _, expected_report = exact.step(exact.state, exact.inputs(problem.no_reference(exact)))
    rounded = problem.make(training, "bfloat16", device)
    params = jax.tree.map(
        lambda leaf, value: jax.device_put(value, leaf.sharding),
        rounded.first,
        jax.tree.unflatten(jax.tree.structure(rounded.first), first),
    )
    found = np.asarray(rounded.score(params, *rounded.rows()))
    mask = rounded.batch.response_mask
    worst = float(np.abs(found - expected)[mask].max() / np.abs(expected[mask]).max())
    note = f"bfloat16 here, float32 on the CPU; at most {_LOG_PROB_BOUND}"
    emit(Result(PART, "log-probs", worst, "of the largest", worst <= _LOG_PROB_BOUND, note))
    state = rounded.state.replace(params=params)
    # Without a reference, margins are differences of log-probs: far from the loss at step 0.
    _, report = rounded.step(state, rounded.inputs(problem.no_reference(rounded)))
    for name in ("loss", "grad_norm"):
        value, exact_value = float(report[name]), float(expected_report[name])
        difference = abs(value - exact_value) / abs(exact_value)
        note = f"{value:.4g} against {exact_value:.4g}; at most {_STEP_BOUND}"
        emit(Result(PART, name, difference, "relative", difference <= _STEP_BOUND, note))
    _twice(training, device)


def _twice(training: Training, device: jax.Device) -> None:
    """Three steps, two times from the same weights."""
    ends = []
    for _ in range(2):
        made = problem.make(training, "bfloat16", device)
        state = made.state
        for _ in range(3):
            state, _ = made.step(state, made.inputs(problem.no_reference(made)))
        ends.append(problem.host(state.params))
    equal = all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))
    flags = os.environ.get("XLA_FLAGS", "")
    asked = device.platform == "cpu" or "xla_gpu_deterministic_ops=true" in flags
    note = "3 steps" + ("" if asked else "; only --xla_gpu_deterministic_ops=true promises it")
    passed = equal if asked else None
    emit(Result(PART, "the same bits twice", float(equal), passed=passed, note=note))


if __name__ == "__main__":
    argparse.ArgumentParser().parse_args()
    check()
