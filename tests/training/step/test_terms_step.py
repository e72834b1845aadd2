"""The shared terms in the train step: against a plain loss over separate sequences, on meshes, with
accumulation, a cached reference and LoRA; and beside PCGrad's projection.

Tolerances are relative to the largest entry of the array (of each parameter).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from dignified_jax.models.lora import LoraParams, variables
from dignified_jax.objectives import LagDPO, PCGradDPO
from dignified_jax.training.step import gradients, metrics
from dignified_jax.training.step.held_out import evaluate
from dignified_jax.training.step.step_inputs import CachedReference
from dignified_jax.training.step.train_step import make_score_step
from tests.oracles import sequences
from tests.training.step import test_lora_step as lora
from tests.training.step.train_run import (
    BATCH,
    EXAMPLES,
    Run,
    assert_close,
    to_host,
)

pytestmark = pytest.mark.wiring

WEIGHT = 0.7
FLIP = 0.2
MULTIPLIERS = (0.3, 0.05, 0.1, 2.0)
TERMS = {"golden_nll": WEIGHT, "length_normalized": True, "label_smoothing": FLIP}
METHOD = LagDPO(beta=1.5, lambda_init=MULTIPLIERS, **TERMS)
STEPS = 3  # the second batch has no reject of E, the third is short


def token_nll(scores, pairs, lengths):
    """Of the golden, once a pair, in nats per token."""
    times = pairs.sum(axis=1)
    return -(times * scores[:, 0]).sum() / (times * lengths[:, 0]).sum()


def written_out(scores, reference, mask):
    """(loss, NLL) from (example, response) log-probs of separate sequences."""
    lengths = mask.sum(axis=1).reshape(-1, 5)
    pairs = lengths[:, 1:] > 0
    means = (scores - reference) / np.maximum(lengths, 1)
    margins = METHOD.beta * (means[:, :1] - means[:, 1:])
    losses = -(1 - FLIP) * jax.nn.log_sigmoid(margins) - FLIP * jax.nn.log_sigmoid(-margins)
    totals = jnp.where(pairs, losses, 0.0).sum(axis=0) / np.maximum(pairs.sum(axis=0), 1)
    nll = token_nll(scores, pairs, lengths)
    return jnp.sum((1 + jnp.asarray(MULTIPLIERS)) * totals) / 4 + WEIGHT * nll, nll


@pytest.fixture(scope="module")
def base(models):
    return Run(models, METHOD, steps=STEPS)


def test_a_step_equals_the_plain_computation(models, base):
    """Loss 1e-6, gradient 1e-5, of the first step."""
    model, policy, reference = models
    tokens, mask = sequences.separate(EXAMPLES[:BATCH])

    def total(params):
        scores = [
            sequences.sum_log_probs(model.apply({"params": tree}, tokens), tokens, mask)
            for tree in (params, reference)
        ]
        return written_out(*scores, mask)

    (loss, nll), want = jax.jit(jax.value_and_grad(total, has_aux=True))(policy)
    report = base.reports[0]
    np.testing.assert_allclose(report["loss"], loss, rtol=1e-6)
    assert_close(base.gradient(0), to_host(want), 1e-5)
    assert WEIGHT * nll > 1.0

    host = base.stream.batch(0)
    found = metrics.of_golden(report, host.response_mask, host.response_length, METHOD)
    np.testing.assert_allclose(found["golden_nll"], nll, rtol=1e-6)
    mine, theirs = (
        sequences.log_probs(model, tree, EXAMPLES[:BATCH]) for tree in (policy, reference)
    )
    drift = -token_nll(mine - theirs, host.response_mask[:, 1:], host.response_length)
    np.testing.assert_allclose(found["golden_drift"], drift, rtol=1e-4)


VARIANTS = {
    "four rows at a time": {"rows_per_device": 4},
    "data 2, fsdp 2, reversed": {"mesh": (2, 2), "reverse": True},
    "data 2, fsdp 2, tensor 2": {"mesh": (2, 2, 2)},
    "longer rows": {"row_length": 96},
}
SLOW = ("longer rows", "data 2, fsdp 2, reversed", "four rows at a time")


@pytest.mark.parametrize(
    "variant", [pytest.param(v, marks=pytest.mark.slow if v in SLOW else ()) for v in VARIANTS]
)
def test_the_layout_of_the_computation_does_not_matter(variant, models, base):
    """Losses 1e-6, gradient 5e-6: the tokens are those of the global batch, also of a short one."""
    run = Run(models, METHOD, steps=STEPS, **VARIANTS[variant])
    for step in range(STEPS):
        np.testing.assert_allclose(run.reports[step]["loss"], base.reports[step]["loss"], rtol=1e-6)
        assert_close(run.gradient(step), base.gradient(step), 5e-6)


@pytest.mark.slow
def test_cached_log_probs_of_the_reference_equal_the_resident_one(models, base):
    run = Run(models, METHOD, steps=0)
    log_probs = make_score_step(run.model, run.mesh)(run.reference.params, *run.batch(0))
    inputs = run.inputs(0).replace(reference=CachedReference(log_probs))
    state, report = run.train_step(run.initial(models[1]), inputs)
    np.testing.assert_allclose(report["loss"], base.reports[0]["loss"], rtol=1e-6)
    assert_close(to_host(state).opt_state[0].trace, base.gradient(0), 5e-6)


def test_evaluation_reports_the_loss_of_a_step(models, base):
    """At the first parameters; 1e-5 relative, and the golden's metrics beside it."""
    run = Run(models, METHOD, steps=0)
    batches = [(run.stream.batch(0), run.inputs(0))]
    state = run.initial(models[1])
    report = evaluate(make_score_step(run.model, run.mesh), METHOD, state, batches)
    np.testing.assert_allclose(report["loss"], base.reports[0]["loss"], rtol=1e-5)
    host = batches[0][0]
    expected = metrics.of_golden(base.reports[0], host.response_mask, host.response_length, METHOD)
    for name in ("golden_nll", "golden_drift"):
        np.testing.assert_allclose(report[name], expected[name], rtol=1e-5)


def conflicting_examples():
    """Pairs of examples with one prompt whose two replies are golden in turn: A against T."""
    examples = []
    for number in range(0, BATCH, 2):
        prompt, (one, two) = (
            EXAMPLES[number].prompt,
            (e.responses[0] for e in EXAMPLES[number:][:2]),
        )
        for golden, *rejects in ((one, two, None), (two, None, one)):
            responses = (golden, *rejects, None, None)
            examples.append(
                dataclasses.replace(EXAMPLES[number], prompt=prompt, responses=responses)
            )
    return examples


@pytest.mark.slow
def test_pcgrad_adds_the_nlls_gradient_after_the_projection(models):
    """Against the algorithm written out on plain gradients, 1e-5: those of A and T are projected
    off each other; that of the NLL is neither projected nor projected on.
    """
    method = PCGradDPO(beta=0.1, golden_nll=WEIGHT)
    model, policy, reference = models
    examples = conflicting_examples()
    tokens, mask = sequences.separate(examples)
    lengths = mask.sum(axis=1).reshape(-1, 5)
    pairs = lengths[:, 1:] > 0

    def weighed(params, weights):
        scores, base = (
            sequences.sum_log_probs(model.apply({"params": tree}, tokens), tokens, mask)
            for tree in (params, reference)
        )
        margins = method.beta * ((scores - base)[:, :1] - (scores - base)[:, 1:])
        sums = jnp.where(pairs, -jax.nn.log_sigmoid(margins), 0.0).sum(axis=0)
        losses = sums / np.maximum(pairs.sum(axis=0), 1)
        return jnp.sum(weights * jnp.append(losses[:2], token_nll(scores, pairs, lengths)))

    gradient = jax.jit(jax.grad(weighed))
    trees = [to_host(gradient(policy, one)) for one in np.eye(3, dtype=np.float32)]
    (a, shape), (t, _), (nll, _) = map(ravel_pytree, trees)
    assert a @ t < -0.1 * np.linalg.norm(a) * np.linalg.norm(t)
    assert min(abs(nll @ a), abs(nll @ t)) > 0  # to be projected on it would change them
    projected = (a - (a @ t) / (t @ t) * t) + (t - (a @ t) / (a @ a) * a)
    want = shape(projected / 4 + WEIGHT * nll)

    run = Run(models, method, steps=1, examples=examples)
    assert gradients.tree_count(method, 4) == 5
    assert_close(run.gradient(0), to_host(want), 1e-5)


@pytest.fixture(scope="module")
def lora_models(tmp_path_factory):
    return lora.models.__wrapped__(tmp_path_factory)


@pytest.mark.slow
def test_lora_has_the_same_terms(lora_models):
    """Against the plain loss, 1e-5; the base under LoRA is the reference."""
    tokens, mask = sequences.separate(lora.EXAMPLES)
    without = lora_models.module.clone(lora=type(lora_models.module.lora)())

    def total(tree):
        logits = lora_models.module.apply(variables(LoraParams(lora_models.base, tree)), tokens)
        reference = without.apply({"params": lora_models.base}, tokens)
        scores = [sequences.sum_log_probs(x, tokens, mask) for x in (logits, reference)]
        return written_out(*scores, mask)

    (loss, _), want = jax.jit(jax.value_and_grad(total, has_aux=True))(lora_models.lora)
    _, after, report = lora.Run(lora_models, method=METHOD).step()
    np.testing.assert_allclose(report["loss"], loss, rtol=1e-6)
    lora.assert_close(after.opt_state[0].trace, to_host(want), 1e-5)
