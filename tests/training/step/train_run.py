"""Some training steps of a tiny model over three batches, with everything they return kept."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dignified_jax.data import DIMENSIONS, BatchStream
from dignified_jax.models import partition
from dignified_jax.objectives import LagDPO
from dignified_jax.objectives.duals.controllers import Ascent
from dignified_jax.objectives.duals.tolerances import Constant
from dignified_jax.training.inputs import data as input_data
from dignified_jax.training.step import sharding
from dignified_jax.training.step.state import init_state
from dignified_jax.training.step.step_inputs import NoReference, ResidentReference, StepInputs
from dignified_jax.training.step.train_step import make_train_step
from tests.oracles import sequences

BATCH = 16
STEPS = 3
RATE = 0.05
CLIP = 2.0
METHOD = LagDPO(
    beta=0.2,
    epsilon=(0.6, 1.1, 0.5, 0.4),
    schedule=Constant(),
    controller=Ascent(0.1),
    lambda_init=(0.3, 0.05, 0.1, 2.0),
)
E = DIMENSIONS.index("E")


def gradient_recorder(rate=RATE, clip=CLIP):
    """SGD on the clipped gradient; the first state keeps the gradient itself.

    SGD, because Adam's first steps are the gradient's sign: they magnify rounding.
    """
    return optax.chain(optax.trace(0.0), optax.clip_by_global_norm(clip), optax.sgd(rate))


def make_examples():
    """Three batches: the second has no reject of E, the third is short."""
    examples = sequences.random_examples(2 * BATCH + 5, 0, prompt=12, response=9)
    for number in range(BATCH, 2 * BATCH):
        responses = list(examples[number].responses)
        responses[1 + E] = None
        examples[number] = dataclasses.replace(examples[number], responses=tuple(responses))
    return examples


EXAMPLES = make_examples()


class Run:
    """Some training steps, everything they returned kept on the host.

    Attributes:
      states: the state before the first step and after each.
      reports: the metrics of each step.
    """

    def __init__(
        self,
        models,
        method=METHOD,
        *,
        mesh=(1, 1),
        reverse=False,
        rows_per_device=1,
        row_length=64,
        optimizer=None,
        examples=EXAMPLES,
        steps=STEPS,
        balance=0.0,
    ):
        self.model, policy, reference = models
        self.method = method
        devices = jax.devices()[: math.prod(mesh)]
        devices = devices[::-1] if reverse else devices
        self.mesh = sharding.make_mesh(sharding.MeshConfig(*mesh), devices)
        assert list(self.mesh.devices.flat) == devices
        self.rows_per_step = rows_per_device * sharding.row_devices(self.mesh)
        self.stream = BatchStream(
            examples,
            batch_size=BATCH,
            row_length=row_length,
            rows_multiple=self.rows_per_step,
            shuffle=False,
        )
        self.optimizer = optimizer or gradient_recorder()
        self.train_step = make_train_step(self.model, method, self.optimizer, self.mesh, balance)
        self.reference = NoReference()
        if method.needs_reference:
            self.reference = ResidentReference(self.put(reference))
        state = self.initial(policy)
        self.states, self.reports = [to_host(state)], []
        for step in range(steps):
            state, report = self.train_step(state, self.inputs(step))
            assert report.pop("log_probs").shape == (BATCH, 5)
            self.states.append(to_host(state))
            self.reports.append(to_host(report))

    def put(self, params):
        """A copy on the mesh."""
        copy = jax.tree.map(jnp.array, params)
        return jax.device_put(copy, partition.param_shardings(copy, self.mesh))

    def initial(self, policy):
        return init_state(self.put(policy), self.method, 4, self.optimizer, self.mesh)

    def batch(self, step):
        """The batch on the mesh, and its number of accumulation steps."""
        put = sharding.put_batch(self.stream.batch(step), self.mesh, self.rows_per_step)
        return put, input_data.accumulation_steps(self.stream, step, self.rows_per_step)

    def inputs(self, step):
        return StepInputs(*self.batch(step), reference=self.reference)

    def gradient(self, step):
        return self.states[step + 1].opt_state[0].trace


def to_host(tree):
    return jax.tree.map(np.array, tree)


def assert_close(got, want, tolerance):
    """Differences of every leaf, relative to the leaf's largest entry."""
    errors = jax.tree.map(lambda g, w: np.abs(np.float64(g) - w).max() / np.abs(w).max(), got, want)
    name, error = max(jax.tree.leaves_with_path(errors), key=lambda leaf: leaf[1])
    assert error <= tolerance, f"{jax.tree_util.keystr(name)}: {error}"


def assert_equal(got, want):
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(g, w)
