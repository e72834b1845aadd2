"""Tells a person where it began when the numbers of a step are not finite."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np

from dignified_jax.training.run_context import RunContext


class NonFiniteError(RuntimeError):
    """The loss or its gradient became NaN or infinite; the last checkpoint is whole."""


def diagnose(
    context: RunContext,
    step: int,
    flat: Mapping[str, float],
    log_probs: jax.Array,
    last_checkpoint: int | None,
) -> str:
    """Where the numbers broke, for a person: step, metrics, and the prompts to look at."""
    broken = [f"{name}={value}" for name, value in flat.items() if not np.isfinite(value)]
    stream, prompts = context.data.streams["train"], context.data.train_prompts
    indices = stream.indices(step - 1)
    bad = ~np.isfinite(np.asarray(log_probs)[: len(indices)]).all(axis=1)
    if bad.any():
        where = (
            "The policy's log-probs are not finite for these prompts (those packed into one row "
            "with a bad example are among them)"
        )
        indices = indices[bad]
    else:
        where = "All log-probs are finite, so look at the size of margins and multipliers. Prompts"
    kept = "no checkpoint yet"
    if last_checkpoint is not None:
        kept = f"checkpoint {last_checkpoint} in {context.workdir / 'checkpoints'} is whole"
    return (
        f"step {step}: the loss or its gradient is not finite ({', '.join(broken[:8])}); {kept}.\n"
        f"{where}:\n  " + "\n  ".join(repr(prompts[i][:80]) for i in indices)
    )
