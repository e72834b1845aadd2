"""A tiny decoder on the problem of `conflict_problem`, trained by the package's own train step."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.conflict_problem import VOCABULARY, Dials, make_examples, pack
from dignified_jax.data import DIMENSIONS, TokenizedExample
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Decoder
from dignified_jax.objectives import Objective
from dignified_jax.training.step import sharding
from dignified_jax.training.step.state import TrainState, state_shardings
from dignified_jax.training.step.step_inputs import CachedReference, StepInputs
from dignified_jax.training.step.train_step import make_score_step, make_train_step

MODEL = Decoder(
    DecoderConfig(
        architecture="LlamaForCausalLM",
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_layers=1,
        num_heads=2,
        num_kv_heads=1,
        head_dim=16,
        rope_theta=10000.0,
    ),
    remat="none",
)
BATCH = 32
TRAIN, VALIDATION, TEST = 1024, 1024, 1024  # examples
EPOCHS = 2
STEPS = EPOCHS * TRAIN // BATCH
COMMON = 3.0  # size of the embeddings' common part, in standard deviations of their own


@functools.cache
def mesh() -> jax.sharding.Mesh:
    """The first device alone."""
    return sharding.make_mesh(sharding.MeshConfig(), jax.devices()[:1])


@functools.cache
def _score_step() -> Callable[..., jax.Array]:
    return make_score_step(MODEL, mesh())


def init_params(seed: int) -> Any:
    """Random parameters of the decoder, with a common part in all embeddings.

    Hidden states of trained language models share most of their direction (Ethayarajh, 2019).
    Without that, a random decoder learns every word's successors apart from every other's.
    """
    params = MODEL.init(jax.random.key(seed), jnp.zeros((1, 2), jnp.int32))["params"]
    embedding = params["embed_tokens"]["embedding"]
    common = jax.random.normal(jax.random.key(seed + 1), embedding.shape[1:])
    common *= COMMON * MODEL.config.initializer_range
    return params | {"embed_tokens": {"embedding": embedding + common}}


def put(examples: Sequence[TokenizedExample]) -> Any:
    """One batch of all examples on the device, in one accumulation step."""
    return sharding.put_batch(pack(list(examples)), mesh(), len(examples))


def score(params: Any, batch: Any) -> jax.Array:
    """(example, 5) log-probs of the responses."""
    return _score_step()(params, batch, jnp.int32(1))


@dataclasses.dataclass(frozen=True, eq=False)
class World:
    """One seed's data on the device, and the initial model, which is also the reference.

    Attributes:
      params: of the initial model.
      seed: of the data, the model and the order of batches.
      train, validation, test: all examples of a part as one batch.
      batches: training examples by BATCH, one batch after another along a new first axis.
    """

    seed: int
    params: Any
    train: Any
    validation: Any
    test: Any
    batches: Any

    @classmethod
    def make(cls, dials: Dials, seed: int, rows: int = TRAIN) -> World:
        """Every part as the dials say, but for test labels, which are clean.

        Of the training rows there are `rows`, a multiple of BATCH.
        """
        train = make_examples(dials, rows, seed, 0)
        validation = make_examples(dials, VALIDATION, seed, 1)
        test = make_examples(dials, TEST, seed, 2, clean=True)
        chunks = [train[start : start + BATCH] for start in range(0, rows, BATCH)]
        return cls(
            seed=seed,
            params=init_params(seed),
            train=put(train),
            validation=put(validation),
            test=put(test),
            batches=jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(put, chunks)),
        )


@functools.cache
def _optimizer(steps: int) -> optax.GradientTransformation:
    """Clipping, Adam and cosine decay; the peak rate lies in the state: one program for all."""

    def make(rate: float) -> optax.GradientTransformation:
        decay = optax.scale_by_schedule(optax.cosine_decay_schedule(1.0, steps))
        return optax.chain(
            optax.clip_by_global_norm(1.0), optax.scale_by_adam(), decay, optax.scale(-rate)
        )

    return optax.inject_hyperparams(make)(rate=1.0)


@functools.cache
def _run(method: Objective, steps: int) -> Callable[..., tuple[TrainState, tuple[jax.Array, ...]]]:
    """The jitted `(state, (batches, references, rewards), order) -> (state, (finite, lambda))`.

    The last is (step, 4), or (step, 0) of a method without multipliers.
    """
    method = method.for_steps(steps)
    step = make_train_step(MODEL, method, _optimizer(steps), mesh())

    @jax.jit
    def run(state: TrainState, given: tuple[Any, ...], order: jax.Array) -> Any:
        def body(state: TrainState, number: jax.Array) -> tuple[TrainState, Any]:
            batch, reference, rewards = jax.tree.map(lambda leaf: leaf[number], given)
            inputs = StepInputs(batch, jnp.int32(1), CachedReference(reference), rewards)
            state, report = step(state, inputs)
            multipliers = method.metrics(state.method_state).get("lambda", jnp.zeros(0))
            return state, (report["finite"], multipliers)

        state, (finite, multipliers) = jax.lax.scan(body, state, order)
        return state, (finite.all(), multipliers)

    return run


def start(method: Objective, optimizer: optax.GradientTransformation, params: Any) -> TrainState:
    """The state at step 0. Every leaf is a copy, since a step donates its state."""
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        method_state=method.init(len(DIMENSIONS)),
    )
    copy = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)
    return jax.device_put(copy, state_shardings(state, optimizer, mesh()))


def train(
    world: World,
    method: Objective,
    rate: float,
    *,
    params: Any | None = None,
    rewards: jax.Array | None = None,
) -> tuple[Any, Any]:
    """STEPS optimiser steps of `method`: (parameters, method state). Arguments as `train_path`."""
    return train_path(world, method, rate, params=params, rewards=rewards)[:2]


def train_path(
    world: World,
    method: Objective,
    rate: float,
    *,
    steps: int = STEPS,
    params: Any | None = None,
    rewards: jax.Array | None = None,
) -> tuple[Any, Any, np.ndarray]:
    """Trains with `method`: (parameters, method state, (step, 4) lambda after each step).

    Args:
      world: the data. Its batches are the same in every epoch, their order is not.
      method: the objective.
      rate: peak learning rate of Adam, which decays to 0 by a cosine.
      steps: optimiser steps.
      params: of the model that training starts from and compares with; the initial one by default.
      rewards: (example, 5, 4) frozen rewards of the training examples, where `method` needs them.

    Raises:
      FloatingPointError: a step was not finite.
    """
    reference = _reference(world, "train") if params is None else score(params, world.train)
    params = world.params if params is None else params

    def by_batch(values: jax.Array) -> jax.Array:
        return values.reshape(-1, BATCH, *values.shape[1:])

    state = start(method, _optimizer(steps), params)
    hyperparams = {"rate": jnp.full_like(state.opt_state.hyperparams["rate"], rate)}
    state = state.replace(opt_state=state.opt_state._replace(hyperparams=hyperparams))
    rng = np.random.default_rng([world.seed, STEPS])
    count = len(reference) // BATCH
    epochs = -(-steps // count)
    order = np.concatenate([rng.permutation(count) for _ in range(epochs)])[:steps]
    given = (
        world.batches,
        by_batch(reference),
        None if rewards is None else by_batch(rewards),
    )
    state, (finite, multipliers) = _run(method, steps)(state, given, order)
    if not finite:
        raise FloatingPointError(f"{method} at rate {rate}: a step was not finite")
    return state.params, state.method_state, np.asarray(multipliers)


def accuracy(params: Any, world: World, part: str) -> np.ndarray:
    """(4,) shares of pairs in which the golden's implicit reward is the higher one; ties are 1/2.

    `part` is "train", "validation" or "test".
    """
    batch = getattr(world, part)
    ratios = np.asarray(score(params, batch) - _reference(world, part), np.float64)
    mask = np.asarray(batch.response_mask)[:, 1:]
    right = (np.sign(ratios[:, :1] - ratios[:, 1:]) + 1.0) / 2.0
    return np.where(mask, right, 0.0).sum(axis=0) / mask.sum(axis=0)


@functools.lru_cache(maxsize=16)
def _reference(world: World, part: str) -> jax.Array:
    """(example, 5) log-probs that the initial model gives a part."""
    return score(world.params, getattr(world, part))
