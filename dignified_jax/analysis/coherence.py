"""Coherence of responses: how probable they are under a model that is not steered, and how much
they repeat themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from dignified_jax.analysis.responses import tokenized
from dignified_jax.data import BatchStream
from dignified_jax.data.schema import Prompt
from dignified_jax.evaluation.models import LoadedModel
from dignified_jax.models import logprobs
from dignified_jax.models.decoder import Decoder

BATCH, ROW = 8, 1024
NGRAM = 4


def mean_nll(
    model: LoadedModel,
    pairs: Sequence[tuple[Prompt, str]],
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Returns (pair,) negative log-probs per token of responses, their end-of-turn token among
    them; its exponential is the perplexity. NaN where a response is empty or can't be kept.

    Args:
      model: that is not steered.
      pairs: (prompt, response).
      progress: called with the pairs done and all of them.
    """
    found = np.full(len(pairs), np.nan)
    kept = {n: e for n, e in enumerate(tokenized(model, pairs)) if e is not None}
    if not kept:
        return found
    longest = max(e.prompt.size + e.responses[0].size for e in kept.values())
    row = -(-max(longest, ROW) // 128) * 128
    stream = BatchStream(list(kept.values()), batch_size=BATCH, row_length=row, shuffle=False)
    score, values = _score(model.module), []
    for step in range(stream.total_steps):
        batch = stream.batch(step)
        log_probs = np.asarray(score(model.params, batch))[:, 0]
        values.append(-log_probs / np.maximum(batch.response_length[:, 0], 1))
        if progress is not None:
            progress(min((step + 1) * BATCH, len(kept)), len(kept))
    found[list(kept)] = np.concatenate(values)[: len(kept)]
    return found


def repetition(text: str, size: int = NGRAM) -> float:
    """Returns the share of a text's n-grams of words that stood before in it; 0 for a short one."""
    words = text.split()
    grams = [tuple(words[n : n + size]) for n in range(len(words) - size + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


@functools.lru_cache(maxsize=4)
def _score(model: Decoder) -> Callable[..., jax.Array]:
    return jax.jit(functools.partial(logprobs.response_log_probs, model))
