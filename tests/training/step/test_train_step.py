"""The train step against a plain loss over separate sequences, and against itself.

Policy and reference are different random models, so that log-ratios, margins and gradients are
far from 0. Tolerances are relative to the largest entry of the array (of each parameter).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from dignified_jax.data import DIMENSIONS, BatchStream
from dignified_jax.models import hf
from dignified_jax.objectives import SFT
from dignified_jax.training.inputs import data as input_data
from dignified_jax.training.step import metrics
from dignified_jax.training.step.step_inputs import CachedReference
from dignified_jax.training.step.train_step import make_score_step
from tests.oracles import hf_models, sequences
from tests.training.step.train_run import (
    BATCH,
    CLIP,
    EXAMPLES,
    METHOD,
    RATE,
    STEPS,
    E,
    Run,
    assert_close,
    to_host,
)

pytestmark = pytest.mark.wiring


@pytest.fixture(scope="module")
def base(models):
    """Three steps of Lag-DPO on one device, a row at a time."""
    return Run(models)


@pytest.fixture(scope="module")
def plain(models):
    """(gradient, (K,) losses) of the loss written out over separate sequences."""
    model, _, reference = models
    length = max(len(e.prompt) + max(e.response_lengths) for e in EXAMPLES)

    def total(policy, multipliers, tokens, mask):
        scores = [
            sequences.sum_log_probs(model.apply({"params": params}, tokens), tokens, mask)
            for params in (policy, reference)
        ]
        margins = METHOD.beta * ((scores[0] - scores[1])[:, :1] - (scores[0] - scores[1])[:, 1:])
        pairs = mask.any(axis=1).reshape(-1, 5)[:, 1:]
        sums = jnp.where(pairs, -jax.nn.log_sigmoid(margins), 0.0).sum(axis=0)
        losses = sums / jnp.maximum(pairs.sum(axis=0), 1)
        return jnp.sum((1 + multipliers) * losses) / 4, losses

    compiled = jax.jit(jax.grad(total, has_aux=True))

    def gradient_and_losses(policy, multipliers, examples):
        arrays = sequences.separate(examples, length)
        arrays = [np.pad(x, ((0, 5 * BATCH - len(x)), (0, 0))) for x in arrays]
        return to_host(compiled(policy, multipliers, *arrays))

    return gradient_and_losses


@pytest.mark.parametrize("step", range(STEPS))
def test_a_step_equals_the_plain_computation(step, plain, base):
    """Losses 1e-6, gradient 1e-5, its norm and the parameters 1e-6, lambda 1e-7 absolute."""
    examples = EXAMPLES[step * BATCH : (step + 1) * BATCH]
    before, after, report = base.states[step], base.states[step + 1], base.reports[step]
    multipliers = before.method_state.multipliers
    gradient, losses = plain(before.params, multipliers, examples)

    np.testing.assert_allclose(report["per_dimension/loss"], losses, rtol=1e-6)
    np.testing.assert_allclose(report["loss"], ((1 + multipliers) * losses).mean(), rtol=1e-6)
    assert_close(base.gradient(step), gradient, 1e-5)

    norm = np.sqrt(sum((leaf.astype(np.float64) ** 2).sum() for leaf in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(report["grad_norm"], norm, rtol=1e-6)
    rate = RATE * min(1.0, CLIP / norm)
    expected = jax.tree.map(lambda p, g: p - rate * g, before.params, gradient)
    assert_close(after.params, expected, 1e-6)
    moved = jax.tree.map(lambda new, old: new - old, after.params, before.params)
    assert all(np.abs(leaf).max() > 1e-5 for leaf in jax.tree.leaves(moved))

    present = losses > 0
    ascended = np.clip(multipliers + 0.1 * (losses - np.array(METHOD.epsilon)), 0, 10)
    np.testing.assert_allclose(
        after.method_state.multipliers, np.where(present, ascended, multipliers), atol=1e-7
    )
    assert after.step == before.step + 1 == step + 1
    assert bool(report["finite"])


def test_the_cases_above_are_not_trivial(base):
    """Clipping acts in some steps, lambda moves both ways, margins have both signs."""
    assert min(report["grad_norm"] for report in base.reports) > 0.1
    assert max(report["grad_norm"] for report in base.reports) > CLIP
    multipliers = np.stack([state.method_state.multipliers for state in base.states])
    assert (np.diff(multipliers, axis=0) > 0).any() and (np.diff(multipliers, axis=0) < 0).any()
    accuracies = np.stack([report["per_dimension/rewards/accuracies"] for report in base.reports])
    assert ((accuracies > 0) & (accuracies < 1)).any()
    assert base.stream.used_rows(0) >= 4


VARIANTS = {
    "two rows at a time": {"rows_per_device": 2},
    "four rows at a time": {"rows_per_device": 4},
    "longer rows": {"row_length": 96},
    "data 2": {"mesh": (2, 1)},
    "fsdp 2": {"mesh": (1, 2)},
    "data 2, fsdp 2, reversed": {"mesh": (2, 2), "reverse": True},
    "fsdp 8": {"mesh": (1, 8)},
    "tensor 2": {"mesh": (1, 1, 2)},
    "data 2, fsdp 2, tensor 2, reversed": {"mesh": (2, 2, 2), "reverse": True},
    "data 8": {"mesh": (8, 1)},
}


# The others have the same axes and accumulate as well.
SLOW = (
    *("two rows at a time", "longer rows"),
    *("data 2", "fsdp 2", "data 2, fsdp 2, reversed", "tensor 2"),
)


@pytest.mark.parametrize(
    "variant", [pytest.param(v, marks=pytest.mark.slow if v in SLOW else ()) for v in VARIANTS]
)
def test_the_layout_of_the_computation_does_not_matter(variant, models, base):
    """Accumulation, meshes, device order and packing: losses, metrics and norms 1e-6, gradient
    5e-6 and parameters 1e-6, at each of three steps from ever newer parameters.
    """
    run = Run(models, **VARIANTS[variant])
    for step in range(STEPS):
        got, want = run.reports[step], base.reports[step]
        assert got.keys() == want.keys()
        for name in want:
            # Rewards are small differences of log-probs of some -20 nats, and may average to 0.
            atol = 2e-6 if "rewards" in name else 1e-7
            np.testing.assert_allclose(got[name], want[name], rtol=1e-6, atol=atol, err_msg=name)
        assert_close(run.gradient(step), base.gradient(step), 5e-6)
        assert_close(run.states[step + 1].params, base.states[step + 1].params, 1e-6)


def test_variants_differ_in_accumulation():
    """The rows of a batch are enough for the variants to mean something."""
    rows = {n: BatchStream(EXAMPLES, batch_size=BATCH, row_length=n) for n in (64, 96)}
    assert rows[64].used_rows(0) > rows[96].used_rows(0)
    steps = {n: input_data.accumulation_steps(rows[64], 0, n) for n in (1, 2, 4)}
    assert len(set(steps.values())) == 3


def test_evaluation_scores_every_response_as_on_its_own(models):
    """Summed log-probs of policy and reference against separate sequences, 1e-5 relative."""
    run = Run(models, mesh=(1, 2), rows_per_device=1, steps=0)
    model, policy, reference = models
    score_step = make_score_step(model, run.mesh)
    got = [score_step(params, *run.batch(0)) for params in (run.put(policy), run.reference.params)]
    examples = EXAMPLES[:BATCH]
    for scored, params in zip(got, (policy, reference), strict=True):
        expected = sequences.log_probs(model, params, examples)
        np.testing.assert_allclose(scored, expected, rtol=1e-5)
        np.testing.assert_array_equal(scored != 0, sequences.response_mask(examples))


@pytest.mark.parametrize("mesh", [pytest.param((1, 1), marks=pytest.mark.slow), (1, 2)])
def test_cached_log_probs_of_the_reference_equal_the_resident_one(mesh, models, base):
    """Losses 1e-6 and gradient 5e-6, over accumulation steps."""
    run = Run(models, mesh=mesh, steps=0)
    score_step = make_score_step(run.model, run.mesh)
    state = run.initial(models[1])
    for step in range(STEPS):
        log_probs = score_step(run.reference.params, *run.batch(step))
        inputs = run.inputs(step).replace(reference=CachedReference(log_probs))
        state, report = run.train_step(state, inputs)
        want = base.reports[step]
        np.testing.assert_allclose(report["loss"], want["loss"], rtol=1e-6)
        np.testing.assert_allclose(
            report["per_dimension/rewards/margins"],
            want["per_dimension/rewards/margins"],
            atol=4e-6,
        )
        assert_close(to_host(state).opt_state[0].trace, base.gradient(step), 5e-6)


def test_absent_dimensions_keep_lambda_and_have_no_metric(base):
    before, after = (base.states[i].method_state.multipliers for i in (1, 2))
    np.testing.assert_array_equal(np.flatnonzero(before == after), [E])
    names = metrics.flatten(base.reports[1], DIMENSIONS)
    assert [name for name in names if name.endswith("/E")] == ["lambda/E", "pairs/E"]
    assert names["pairs/E"] == 0 and names["pairs/A"] > 0
    full = metrics.flatten(base.reports[0], DIMENSIONS)
    assert {name.replace("/A", "/E") for name in full} >= {
        *("loss/E", "lambda/E", "rewards/chosen/E", "rewards/rejected/E", "rewards/margins/E"),
        *("rewards/accuracies/E", "logps/chosen/E", "logps/rejected/E", "pairs/E"),
    }
    assert {n.replace("/A", "/E") for n in full if n.endswith("/A")} <= full.keys()


def test_lambda_is_the_recursion_over_the_logged_losses(base):
    """A plain Python ascent over the logs; 1e-6 absolute."""
    multipliers = dict(zip(DIMENSIONS, METHOD.lambda_init, strict=True))
    for report in base.reports:
        logged = metrics.flatten(report, DIMENSIONS)
        for dimension, epsilon in zip(DIMENSIONS, METHOD.epsilon, strict=True):
            if f"loss/{dimension}" in logged:
                raised = multipliers[dimension] + 0.1 * (logged[f"loss/{dimension}"] - epsilon)
                multipliers[dimension] = min(max(raised, 0.0), 10.0)
            assert logged[f"lambda/{dimension}"] == pytest.approx(multipliers[dimension], abs=1e-6)
    np.testing.assert_allclose(
        base.states[-1].method_state.multipliers, list(multipliers.values()), atol=1e-6
    )


@pytest.mark.parametrize("responses", ["golden", "all"])
def test_sft_is_the_mean_cross_entropy_of_transformers(responses, tmp_path):
    """Loss 1e-6 and gradient norm 1e-5 relative, over the tokens of golden or of all responses."""
    reference = hf_models.build("llama3.1", scale=4.0)
    reference.save_pretrained(tmp_path)
    model, params = hf.load(tmp_path)
    run = Run((model, params, None), SFT(responses=responses), mesh=(2, 1), steps=1)
    assert run.stream.used_rows(0) > 2  # accumulated, and devices that hold different counts

    tokens, mask = sequences.separate(EXAMPLES[:BATCH])
    if responses == "golden":
        mask &= np.arange(len(mask))[:, None] % 5 == 0  # rejects are in the batch, but not trained
    labels = np.where(mask, tokens, -100)
    loss = reference(torch.as_tensor(tokens), labels=torch.as_tensor(labels).long()).loss
    loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in reference.parameters()])
    assert run.reports[0]["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert run.reports[0]["grad_norm"] == pytest.approx(norm.item(), rel=1e-5)
