"""The final table per dimension."""

from __future__ import annotations

from typing import Any

import numpy as np

from dignified_jax.data import BatchStream
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.step.state import TrainState


def build(
    config: TrainConfig, state: TrainState, test: dict[str, float], stream: BatchStream
) -> dict[str, Any]:
    """Returns the final figures: held-out pairs, loss, accuracy, margin and lambda by dimension.

    `longer` is the accuracy of preferring the longer response (in tokens; a tie counts 1/2), the
    baseline that any accuracy should be read against.
    """
    longer = _longer_accuracy(stream)
    multipliers = config.method.metrics(state.method_state).get("lambda")
    rows = {}
    for index, dimension in enumerate(config.data.dimensions):
        if not test.get(f"test/pairs/{dimension}"):
            continue
        rows[dimension] = {
            "pairs": int(test[f"test/pairs/{dimension}"]),
            "loss": test[f"test/loss/{dimension}"],
            "accuracy": test.get(f"test/rewards/accuracies/{dimension}"),
            "margin": test.get(f"test/rewards/margins/{dimension}"),
            "longer": longer[index],
            "lambda": None if multipliers is None else float(multipliers[index]),
        }
    cap = config.method.lambda_max
    return {
        "method": config.method.name,
        "step": int(state.step),
        "rows": config.data.test_rows,
        "test": test,
        "dimensions": rows,
        "worst": max(rows, key=lambda k: rows[k]["loss"]) if rows else None,
        "at_lambda_max": [
            k for k, row in rows.items() if cap and row["lambda"] and row["lambda"] > 0.999 * cap
        ],
    }


def table(result: dict[str, Any]) -> str:
    """Returns the summary as aligned text, the worst dimension named below it."""
    width = max(map(len, ["dimension", *result["dimensions"]]))
    names = ("pairs", "loss", "accuracy", "margin", "longer", "lambda")
    lines = [
        f"held-out {result['rows']} after {result['step']} steps of {result['method']}",
        "  ".join([f"{'dimension':<{width}}", *(f"{name:>8}" for name in names)]),
    ]
    for dimension, row in result["dimensions"].items():
        cells = ["-" if row[name] is None else f"{row[name]:.4g}" for name in names]
        lines.append("  ".join([f"{dimension:<{width}}", *(f"{cell:>8}" for cell in cells)]))
    if result["worst"]:
        worst = result["dimensions"][result["worst"]]
        lines.append(f"worst dimension: {result['worst']} (held-out loss {worst['loss']:.4f})")
    for dimension in result["at_lambda_max"]:
        lines.append(
            f"warning: lambda/{dimension} is at method.lambda_max: its tolerance epsilon was not "
            "reached, and with all at the cap the weights are equal again."
        )
    return "\n".join(lines)


def _longer_accuracy(stream: BatchStream) -> list[float]:
    """Per dimension, how often golden is the longer of a pair."""
    batches = [stream.batch(step) for step in range(stream.total_steps)]
    length = np.concatenate([batch.response_length for batch in batches])
    mask = np.concatenate([batch.response_mask for batch in batches])
    pairs = mask[:, :1] & mask[:, 1:]
    wins = (np.sign(length[:, :1] - length[:, 1:]) + 1.0) / 2.0
    return [
        float(won[exists].mean()) if exists.any() else float("nan")
        for won, exists in zip(wins.T, pairs.T, strict=True)
    ]
