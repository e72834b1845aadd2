"""Continuous batches: when a response ends, its slot is taken by the next prompt that waits.

Shapes are few, so that few programs are compiled: prompts are packed into rows of a power of two
of tokens, there are a power of two of slots, and their caches grow by steps of a quarter, on one
CPU by twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dignified_jax.generation import sampling, slots
from dignified_jax.generation.sampler import STEPS, PackedPrompts, Sampler
from dignified_jax.generation.settings import Settings
from dignified_jax.generation.slots import Slots
from dignified_jax.generation.steering import Steering
from dignified_jax.models.decoder import Decoder, Params
from dignified_jax.models.lora import LoraParams

SMALLEST_ROW = 64
# Prompts are packed into rows of so many tokens, or of as many as the longest has.
ROW = {"cpu": 512}
ROW_OF_ACCELERATORS = 1024
# Keys and values of all prompts of a packed row are held so often at most.
MOST_PROMPTS, MOST_COPIES = 16, 8192


@dataclasses.dataclass(frozen=True)
class TokenRequest:
    """A prompt as token ids.

    Attributes:
      id: of the request.
      tokens: of the prompt; at least one.
      max_new_tokens: the most tokens of the response.
      seed: of its draws.
      ends: of the response's tokens so far, how many of them it has if it ends there for another
        reason than a token; None while it goes on. Asked after every `sampler.STEPS` tokens.
    """

    id: str
    tokens: tuple[int, ...]
    max_new_tokens: int
    seed: int
    ends: Callable[[Sequence[int]], int | None] | None = None


@dataclasses.dataclass(frozen=True)
class TokenResponse:
    """A response as token ids.

    Attributes:
      request: what it answers.
      tokens: without the token that ended it.
      finish_reason: "stop" where such a token, or `TokenRequest.ends`, ended it; "length" else.
    """

    request: TokenRequest
    tokens: tuple[int, ...]
    finish_reason: str


class Queue:
    """Requests that wait, and those whose responses are being sampled."""

    def __init__(
        self,
        model: Decoder,
        params: Params | LoraParams,
        stop_tokens: Sequence[int],
        settings: Settings,
        mesh: Mesh | None = None,
        steering: Steering | None = None,
    ) -> None:
        """
        Args:
          model, params: the decoder, and its parameter tree or that of a base and of LoRA.
          stop_tokens: that end a response.
          settings: how to sample; what a request says itself is not looked at.
          mesh: over which slots are split, with the axes of `models.partition`.
          steering: edits of the residual stream.
        """
        # Kernels of attention know of no mesh.
        attention = model.attention if mesh is None or mesh.size == 1 else "dense"
        model = model.clone(remat="none", gather=None, attention=attention)
        rule, dials = sampling.rule_and_dials(settings)
        stops = jnp.asarray(sorted(stop_tokens) or [-1], jnp.int32)
        self._sampler = Sampler(model, params, stops, rule, dials, mesh, steering)
        self._stops = frozenset(stop_tokens)
        self._mesh, self._shares = mesh, slots.shares(mesh)
        self._most_slots = _bucket_of_slots(settings.batch_size, self._shares)
        self._waiting: list[TokenRequest] = []
        self._running: list[_Running | None] = []
        self._slots: Slots | None = None
        self.sampled = 0  # tokens of all responses so far

    def add(self, request: TokenRequest) -> None:
        """Lets a request wait for a slot."""
        self._waiting.append(request)

    @property
    def busy(self) -> bool:
        """Says that some response is not complete."""
        return bool(self._waiting) or self.active > 0

    @property
    def active(self) -> int:
        """Number of responses that are being sampled."""
        return sum(running is not None for running in self._running)

    def step(self) -> list[TokenResponse]:
        """Fills free slots, samples some tokens of each; the responses that are complete."""
        # The longest first: neighbours are of like length, and the last batch is not a long one.
        self._waiting.sort(key=lambda request: -len(request.tokens))
        size = min(
            _bucket_of_slots(self.active + len(self._waiting), self._shares), self._most_slots
        )
        admitted = self._waiting[: max(size - self.active, 0)]
        del self._waiting[: len(admitted)]
        self._make_room(size, admitted)
        done = self._prefill(admitted)
        if self.active:
            done += self._decode()
        return done

    def _make_room(self, size: int, admitted: Sequence[TokenRequest]) -> None:
        lengths = [len(request.tokens) for request in admitted]
        lengths += [running.length for running in self._running if running is not None]
        places = _bucket_of_places(max(lengths) + STEPS)
        if (
            self._mesh is None and jax.default_backend() == "cpu"
        ):  # what is not filled costs nothing
            places = _bucket_of_tokens(places)
        if self._slots is None:
            self._slots = slots.empty(self._sampler.model, size, places, self._mesh)
            self._running = [None] * size
            return
        keeps = places <= self._slots.places <= 2 * places and size <= len(self._running)
        if keeps and (self._waiting or size > len(self._running) // 2):
            return
        order = [n for n, running in enumerate(self._running) if running is not None]
        self._running = [self._running[n] for n in order] + [None] * (size - len(order))
        order = jnp.asarray(order + [-1] * (size - len(order)), jnp.int32)
        self._slots = slots.rearrange(self._slots, order, places, self._mesh)

    def _prefill(self, admitted: Sequence[TokenRequest]) -> list[TokenResponse]:
        free = (n for n, running in enumerate(self._running) if running is None)
        taken = list(zip(free, admitted, strict=False))
        firsts = []
        for group, packed in _pack(taken, self._shares, len(self._running)):
            first, self._slots = self._sampler.prefill(self._slots, packed)
            firsts.append((group, first))
        done = []
        for group, first in firsts:
            for (slot, request), token in zip(group, np.asarray(first), strict=False):
                self._running[slot] = _Running(request)
                done += self._take(slot, [int(token)])
        return done

    def _decode(self) -> list[TokenResponse]:
        before = self._counts()
        tokens, self._slots = self._sampler.decode(self._slots)
        tokens, counts = jax.device_get((tokens, self._slots.count))
        done = []
        for slot in [n for n, running in enumerate(self._running) if running is not None]:
            done += self._take(slot, tokens[slot, : counts[slot] - before[slot]].tolist())
        return done

    def _counts(self) -> list[int]:
        return [0 if running is None else len(running.tokens) for running in self._running]

    def _take(self, slot: int, tokens: list[int]) -> list[TokenResponse]:
        """Adds sampled tokens to the slot's response; the response, if it is complete."""
        running = self._running[slot]
        request, all_tokens = running.request, running.tokens
        all_tokens += tokens
        self.sampled += len(tokens)
        kept, reason = len(all_tokens), None
        if all_tokens[-1] in self._stops:
            kept, reason = kept - 1, "stop"
        elif kept >= request.max_new_tokens:
            reason = "length"
        ends = None if request.ends is None else request.ends(all_tokens[:kept])
        if ends is not None:
            kept, reason = ends, "stop"
        if reason is None:
            return []
        self._running[slot] = None
        return [TokenResponse(request, tuple(all_tokens[:kept]), reason)]


@dataclasses.dataclass
class _Running:
    """A response that is being sampled."""

    request: TokenRequest
    tokens: list[int] = dataclasses.field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens whose keys are in the cache: all but the last."""
        return len(self.request.tokens) + len(self.tokens) - 1


_Taken = list[tuple[int, TokenRequest]]


def _pack(taken: _Taken, rows: int, size: int) -> list[tuple[_Taken, PackedPrompts]]:
    """Prompts, the longest first, in rows of one call each.

    Args:
      taken: (slot, request).
      rows: of a call.
      size: number of slots.
    """
    found = []
    usual = ROW.get(jax.default_backend(), ROW_OF_ACCELERATORS)
    while taken:
        length = _bucket_of_tokens(max(usual, len(taken[0][1].tokens)))
        most = max(min(MOST_PROMPTS, MOST_COPIES // length), 1) * rows
        ends, placed, left = [0] * rows, [], []
        for slot, request in taken:
            row = min(range(rows), key=lambda n: ends[n])
            start = ends[row]
            if len(placed) == most or start + len(request.tokens) > length:
                left.append((slot, request))
                continue
            placed.append((slot, request, row, start))
            ends[row] = start + len(request.tokens)
        length = _bucket_of_tokens(max(ends))
        found.append(([each[:2] for each in placed], _packed(placed, rows, length, most, size)))
        taken = left
    return found


def _packed(
    placed: Sequence[tuple[int, TokenRequest, int, int]],
    rows: int,
    length: int,
    most: int,
    size: int,
) -> PackedPrompts:
    """Arrays of prompts, each (slot, request, row, start)."""
    tokens, positions = np.zeros((2, rows, length), np.int32)
    visible_until = np.broadcast_to(np.arange(1, length + 1, dtype=np.int32), (rows, length)).copy()
    numbers = {
        name: np.zeros(most, np.int32) for name in ("row", "start", "length", "slot", "limit")
    }
    numbers["length"][:], numbers["slot"][:] = 1, size
    seeds = np.zeros(most, np.uint32)
    for index, (slot, request, row, start) in enumerate(placed):
        count = len(request.tokens)
        tokens[row, start : start + count] = request.tokens
        positions[row, start : start + count] = np.arange(count)
        visible_until[row, start : start + count] = start + count
        values = (row, start, count, slot, request.max_new_tokens)
        for name, value in zip(numbers, values, strict=True):
            numbers[name][index] = value
        seeds[index] = request.seed
    return PackedPrompts(tokens, positions, visible_until, **numbers, seed=seeds)


def _bucket_of_tokens(count: int) -> int:
    return max(SMALLEST_ROW, 1 << (count - 1).bit_length())


def _bucket_of_slots(count: int, shares: int) -> int:
    return shares << (max(-(-count // shares), 1) - 1).bit_length()


def _bucket_of_places(count: int) -> int:
    step = max((1 << (count.bit_length() - 1)) // 4, SMALLEST_ROW)
    return -(-count // step) * step
