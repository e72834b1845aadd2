"""Log-likelihoods of continuations: those of one context are branches of one token tree.

The choices of a question are computed with the question, once. The last token of a continuation is
predicted and never computed, so a choice of one token takes no branch at all.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.data.batch import PackedBatch
from dignified_jax.data.tokenize import TokenizedExample
from dignified_jax.evaluation.judging import trees
from dignified_jax.models.decoder import Decoder, Params
from dignified_jax.models.logprobs import last_states
from dignified_jax.models.lora import LoraParams
from dignified_jax.models.output_head import TOKENS_PER_CHUNK

TREE_ROOM = 1024
"""Tokens of a tree, unless one continuation needs more: many may share an empty context."""
MOST_BRANCHES = 32
_FEWEST_SLOTS = 64

Continuation = tuple[Sequence[int], Sequence[int]]
"""Token ids of a context and of what continues it; at least one of each."""
Likelihood = tuple[float, bool]
"""Log-probability in nats, and whether every token is the likeliest one."""
_Branch = tuple[int, ...]


class ContinuationScorer:
    """A model that scores continuations."""

    def __init__(self, model: Decoder, params: Params | LoraParams, longest: int) -> None:
        """
        Args:
          model, params: the decoder, and its parameter tree or that of a base and of LoRA.
          longest: most tokens that are computed together; longer contexts lose their beginning.
        """
        model = model.clone(remat="none", gather=None)
        self.longest, self._params = longest, params

        @jax.jit
        def score(
            params: Params | LoraParams, batch: PackedBatch, source: jax.Array, target: jax.Array
        ) -> tuple[jax.Array, jax.Array]:
            hidden, kernel = last_states(model, params, batch)
            states = hidden.reshape(-1, hidden.shape[-1])[source].astype(model.dtype)
            narrow = kernel.astype(model.dtype)

            def body(inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
                chosen_states, chosen = inputs
                logits = jnp.dot(chosen_states, narrow, preferred_element_type=jnp.float32)
                at = jnp.take_along_axis(logits, chosen[:, None], axis=-1)[:, 0]
                likeliest = jnp.argmax(logits, axis=-1) == chosen
                return at - jax.nn.logsumexp(logits, axis=-1), likeliest

            chunk = min(TOKENS_PER_CHUNK, target.size)  # both are powers of two
            parts = (states.reshape(-1, chunk, states.shape[-1]), target.reshape(-1, chunk))
            log_probs, likeliest = jax.lax.map(body, parts)
            return log_probs.reshape(-1), likeliest.reshape(-1)

        self._score = score

    def __call__(
        self,
        continuations: Sequence[Continuation],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Likelihood]:
        """Scores continuations.

        Args:
          continuations: to score.
          progress: called with the continuations done and all of them.

        Returns:
          Of each its log-probability and whether it is what greedy decoding gives.

        Raises:
          ValueError: a context or continuation is empty, or a continuation is longer than
            `longest`; names its place.
        """
        grown = self._grow(continuations)
        found: dict[int, Likelihood] = {}
        for group in _by_length(grown):
            for batch in trees.pack([each.example for each in group]):
                found |= self._score_batch(batch, group, continuations)
                if progress is not None:
                    progress(len(found), len(continuations))
        return [found[number] for number in range(len(continuations))]

    def _score_batch(
        self,
        batch: trees.TreeBatch,
        group: Sequence[_Tree],
        continuations: Sequence[Continuation],
    ) -> dict[int, Likelihood]:
        """Number of each continuation of a packed step -> its likelihood."""
        places: list[tuple[int, np.ndarray]] = []
        width = batch.packed.tokens.shape[1]
        for row, packed in enumerate(batch.trees):
            segments = iter(batch.packed.segments[row])
            for number in packed:
                tree = group[number]
                _, _, start, length = next(segments)
                starts = {branch: next(segments)[2] for branch in tree.branches if branch}
                trunk_end = row * width + start + length - 1
                for branch, numbers in tree.branches.items():
                    rest = row * width + starts.get(branch, 0) + np.arange(len(branch))
                    source = np.concatenate([[trunk_end], rest])
                    places += [(n, source) for n in numbers]
        sources = np.concatenate([source for _, source in places])
        targets = np.concatenate([np.asarray(continuations[n][1]) for n, _ in places])
        padding = (0, max(_FEWEST_SLOTS, _power_of_two(len(sources))) - len(sources))
        scored = self._score(
            self._params,
            batch.packed,
            np.pad(sources, padding).astype(np.int32),
            np.pad(targets, padding).astype(np.int32),
        )
        log_probs, likeliest = (np.asarray(each) for each in scored)
        ends = np.cumsum([len(source) for _, source in places])
        return {
            number: (
                float(log_probs[end - len(source) : end].sum(dtype=np.float64)),
                bool(likeliest[end - len(source) : end].all()),
            )
            for (number, source), end in zip(places, ends, strict=True)
        }

    def _grow(self, continuations: Sequence[Continuation]) -> list[_Tree]:
        """Trees that together hold all continuations."""
        by_context: dict[_Branch, dict[_Branch, list[int]]] = {}
        for number, (context, tokens) in enumerate(continuations):
            if not len(context) or not 1 <= len(tokens) <= self.longest:
                raise ValueError(
                    f"continuations[{number}]: expected a context and a continuation of 1 to "
                    f"{self.longest} tokens, found {len(context)} and {len(tokens)}"
                )
            # The last token is not computed.
            kept = tuple(context)[-(self.longest + 1 - len(tokens)) :]
            branches = by_context.setdefault(kept, {})
            branches.setdefault(tuple(tokens)[:-1], []).append(number)
        return [
            _Tree(context, part)
            for context, branches in by_context.items()
            for part in _parts(context, branches)
        ]


class _Tree:
    """A context and some of its branches: tokens -> numbers of continuations that begin so."""

    def __init__(self, context: _Branch, branches: dict[_Branch, list[int]]) -> None:
        self.branches = branches
        ids = [np.asarray(branch, np.int32) for branch in branches if branch]
        missing = [None] * (MOST_BRANCHES - len(ids))
        self.example = TokenizedExample(np.asarray(context, np.int32), (*ids, *missing), 0)


def _parts(
    context: _Branch, branches: dict[_Branch, list[int]]
) -> Iterator[dict[_Branch, list[int]]]:
    """Splits the branches of a context, so that no tree is larger than it has to be."""
    part: dict[_Branch, list[int]] = {}
    room = TREE_ROOM - len(context)
    for branch, numbers in branches.items():
        if part and (len(part) == MOST_BRANCHES or len(branch) > room):
            yield part
            part, room = {}, TREE_ROOM - len(context)
        part[branch] = numbers
        room -= len(branch)
    yield part


def _by_length(grown: Sequence[_Tree]) -> list[list[_Tree]]:
    """Trees of like lengths together, the longest first: a row's length is that of its longest."""
    groups = collections.defaultdict(list)
    for tree in grown:
        groups[max(_power_of_two(tree.example.length), trees.LENGTH_UNIT)].append(tree)
    return [groups[size] for size in sorted(groups, reverse=True)]


def _power_of_two(number: int) -> int:
    """The least power of two that is not smaller."""
    return 1 << max(number - 1, 0).bit_length()
