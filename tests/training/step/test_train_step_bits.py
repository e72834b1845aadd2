"""Bits of the train step: what must be equal is so exactly, compiled as users' programs are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.objectives import LagDPO, MultiNegativeDPO
from dignified_jax.planning import collectives
from dignified_jax.training.inputs import model as input_model
from dignified_jax.training.step.optimizer import OptimizerConfig, make_optimizer
from dignified_jax.training.step.step_inputs import ResidentReference
from tests.training.step.train_run import STEPS, Run, assert_equal, to_host

# Of AdamW, with a large rate.
OPTIMIZER = make_optimizer(OptimizerConfig(learning_rate=1e-2), STEPS)
METHOD = LagDPO(epsilon=(1e9,))


@pytest.fixture(scope="module")
def base(models):
    """Three steps whose tolerances are never reached."""
    return Run(models, METHOD, optimizer=OPTIMIZER)


def check_first_report(report):
    """Of a step whose reference is the policy's copy: losses 1e-6, margins exactly 0."""
    np.testing.assert_allclose(report["per_dimension/loss"], np.log(2), rtol=1e-6)
    np.testing.assert_array_equal(report["per_dimension/rewards/margins"], np.zeros(4))
    np.testing.assert_array_equal(report["per_dimension/rewards/accuracies"], 0.5)
    assert report["grad_norm"] > 0.1


def test_the_first_loss_of_every_dimension_is_log_2(models, base):
    model, policy, _ = models
    copy = base.put(input_model.freeze(policy, model.dtype))
    inputs = base.inputs(0).replace(reference=ResidentReference(copy))
    check_first_report(base.train_step(base.initial(policy), inputs)[1])


@pytest.mark.parametrize("mesh", [pytest.param((1, 1), marks=pytest.mark.slow), (1, 2)])
def test_so_it_is_in_bfloat16(mesh, models):
    model, policy, _ = models
    model = model.clone(dtype=jnp.dtype("bfloat16"))
    copied = (model, policy, input_model.freeze(policy, model.dtype))
    check_first_report(Run(copied, METHOD, optimizer=OPTIMIZER, mesh=mesh, steps=1).reports[0])


def test_unreached_tolerances_make_it_multi_negative_dpo_to_the_bit(models, base):
    """Losses, gradient norm and parameters."""
    averaged = Run(models, MultiNegativeDPO(), optimizer=OPTIMIZER)
    for constrained, right in zip(base.reports, averaged.reports, strict=True):
        left = dict(constrained)
        assert left.pop("per_dimension/lambda").tolist() == [0, 0, 0, 0]
        assert left.pop("per_dimension/epsilon").tolist() == [1e9] * 4
        assert left.keys() == right.keys()
        assert_equal(left, right)
    for left, right in zip(base.states, averaged.states, strict=True):
        assert_equal((left.params, left.opt_state), (right.params, right.opt_state))
    assert base.reports[2]["loss"] != base.reports[0]["loss"]


def with_nan(state):
    leaf = state.params["layers"]["mlp"]["up_proj"]["kernel"]
    return jax.tree.map(lambda x: x.at[1, 2, 3].set(jnp.nan) if x is leaf else x, state)


def with_multipliers(value):
    def change(state):
        duals = state.method_state
        filled = jax.device_put(np.full(4, value, np.float32), duals.multipliers.sharding)
        return state.replace(method_state=duals.replace(multipliers=filled))

    return change


@pytest.mark.parametrize(
    ("spoil", "finite_loss"),
    [
        (with_nan, False),
        (with_multipliers(jnp.inf), False),
        (with_multipliers(2e38), True),  # the loss fits into float32, the gradient's norm doesn't
    ],
    ids=["nan parameter", "infinite lambda", "infinite gradient"],
)
def test_a_step_that_is_not_finite_changes_nothing(spoil, finite_loss, models, base):
    state = spoil(base.initial(models[1]))
    before = to_host(state)
    after, report = base.train_step(state, base.inputs(0))
    assert not bool(report["finite"])
    assert bool(np.isfinite(report["loss"])) == finite_loss
    assert_equal(after, before)


def test_a_reference_that_is_not_finite_changes_nothing(models, base):
    reference = jax.tree.map(lambda leaf: leaf * jnp.nan, base.reference)
    state = base.initial(models[1])
    before = to_host(state)
    after, report = base.train_step(state, base.inputs(0).replace(reference=reference))
    assert not bool(report["finite"])
    assert_equal(after, before)


def test_gradients_are_scattered_and_moments_are_sharded(models):
    """On 4 devices of `fsdp`: no weight's gradient is all-reduced; moments are in 4 parts."""
    optimizer = make_optimizer(OptimizerConfig(), 10)
    run = Run(models, mesh=(1, 4), optimizer=optimizer, steps=0)
    state = run.initial(models[1])
    program = run.train_step.lower(state, run.inputs(0)).compile().as_text()
    found = collectives.collectives(program, run.mesh.shape)
    scattered = [one for one in found if one.kind == "reduce-scatter"]
    layers = len(jax.tree.leaves(state.params["layers"]["mlp"])[0])
    # Seven matrices a layer, and the embedding and output head.
    assert sum(one.count for one in scattered) == 7 * layers + 2
    # One vector: scales' gradients, the dimensions' sums and counts, and norms.
    (reduced,) = [one for one in found if one.kind == "all-reduce"]
    smallest = min(leaf[0].size for leaf in jax.tree.leaves(state.params["layers"]["mlp"]))
    assert (reduced.axes, reduced.count) == (("fsdp",), 1) and reduced.array_bytes < 2 * smallest

    moments = [state.opt_state[1][0].mu, state.opt_state[1][0].nu]
    for (path, moment), param in zip(
        jax.tree.leaves_with_path(moments), 2 * jax.tree.leaves(state.params), strict=True
    ):
        split = 1 if path[-1].key == "scale" else 4
        assert moment.shape == param.shape
        assert moment.sharding.is_equivalent_to(param.sharding, moment.ndim)
        assert [s.data.nbytes for s in moment.addressable_shards] == [moment.nbytes // split] * 4
