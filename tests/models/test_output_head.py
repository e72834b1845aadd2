"""The chunked log-probabilities against dense log-softmax, their memory and communication."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from dignified_jax.models import output_head
from dignified_jax.models.output_head import token_log_probs, token_log_probs_and_entropy
from dignified_jax.models.partition import BATCH_AXES
from dignified_jax.models.tensor_parallel import TensorParallel

P = PartitionSpec
WIDTH, VOCAB = 16, 44


def random_inputs(tokens, seed=0, width=WIDTH, vocab=VOCAB):
    """Float64 hidden, kernel and cotangent; int32 targets."""
    rng = np.random.default_rng(seed)
    hidden, kernel = rng.normal(size=(tokens, width)), rng.normal(size=(width, vocab))
    weight, target = rng.normal(size=tokens), rng.integers(0, vocab, tokens, np.int32)
    return hidden, kernel / np.sqrt(width), weight, target


def dense(hidden, kernel, weight, target):
    """Float64 log-probs, entropies, and the gradients of weight @ log-probs, in NumPy."""
    logits = hidden @ kernel
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    softmax = np.exp(log_softmax)
    d_logits = -weight[:, None] * softmax
    d_logits[np.arange(len(target)), target] += weight
    values = log_softmax[np.arange(len(target)), target]
    entropy = -(softmax * log_softmax).sum(axis=1)
    return values, entropy, (d_logits @ kernel.T, hidden.T @ d_logits)


def scores_and_gradients(hidden, kernel, weight, target, **options):
    """As `dense`, of the chunked computation."""

    def total(hidden, kernel):
        values, entropy = token_log_probs_and_entropy(hidden, kernel, target, **options)
        return values @ weight, (values, entropy)

    gradients, scores = jax.grad(total, argnums=(0, 1), has_aux=True)(hidden, kernel)
    return *scores, gradients


def check(got, want):
    """Values 1e-6, gradients 1e-5 of their largest entry."""
    np.testing.assert_allclose(got[0], want[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-6, atol=1e-6)
    for g, w in zip(got[2], want[2], strict=True):
        np.testing.assert_allclose(g, w, atol=1e-5 * np.abs(w).max())


def narrow(arrays):
    return [jnp.asarray(x, jnp.int32 if x.dtype == np.int32 else jnp.float32) for x in arrays]


@pytest.mark.parametrize("chunk", [7, 25, 64])
def test_chunks_of_tokens_equal_log_softmax(chunk, monkeypatch):
    """50 tokens, a divisor or not, more or fewer than a chunk."""
    monkeypatch.setattr(output_head, "TOKENS_PER_CHUNK", chunk)
    inputs = random_inputs(50)
    hidden, kernel, weight, target = narrow(inputs)
    got = jax.jit(scores_and_gradients)(hidden, kernel, weight, target)
    check(got, dense(*inputs))
    alone, pull = jax.vjp(lambda *x: token_log_probs(*x, target), hidden, kernel)
    check((alone, got[1], pull(weight)), dense(*inputs))  # without entropies


def test_float64_gradients_are_the_slopes_of_the_values(monkeypatch):
    """Central differences in a random direction, 1e-8; and dense values and gradients, 1e-12."""
    monkeypatch.setattr(output_head, "TOKENS_PER_CHUNK", 8)
    hidden, kernel, weight, target = inputs = random_inputs(30, seed=1)
    rng = np.random.default_rng(2)
    directions = rng.normal(size=hidden.shape), rng.normal(size=kernel.shape)
    step = 1e-5
    with jax.enable_x64(True):
        values, entropy, gradients = scores_and_gradients(*inputs, dtype=float)
        ends = [
            weight
            @ np.asarray(
                token_log_probs(
                    hidden + s * directions[0], kernel + s * directions[1], target, dtype=float
                )
            )
            for s in (step, -step)
        ]
    assert values.dtype == np.float64
    gradients = [np.asarray(g) for g in gradients]
    slope = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-8)
    want = dense(*inputs)
    np.testing.assert_allclose(values, want[0], rtol=1e-12)
    np.testing.assert_allclose(entropy, want[1], rtol=1e-12)
    for g, w in zip(gradients, want[2], strict=True):
        np.testing.assert_allclose(g, w, atol=1e-12)


def test_the_entropy_has_no_gradient():
    hidden, kernel, _, target = narrow(random_inputs(9))
    gradient = jax.grad(lambda h: token_log_probs_and_entropy(h, kernel, target)[1].sum())(hidden)
    np.testing.assert_array_equal(gradient, 0.0)


def test_entropies_cost_nothing_unless_asked_for():
    """They take one more exponential of every logit, and only there."""
    hidden, kernel, _, target = narrow(random_inputs(50))

    def exponentials(score):
        compiled = jax.jit(score).lower(hidden, kernel, target).compile()
        return compiled.cost_analysis()["transcendentals"]

    plain, both = exponentials(token_log_probs), exponentials(token_log_probs_and_entropy)
    assert plain < 1.1 * 50 * VOCAB
    assert both - plain == pytest.approx(50 * VOCAB, rel=0.1)


def test_values_stay_finite_for_large_logits():
    hidden = jnp.full((3, 2), 1e3)
    kernel = jnp.asarray([[1.0, -1.0, 0.0], [1.0, -1.0, 0.0]])
    values, gradient = jax.value_and_grad(
        lambda h: token_log_probs(h, kernel, jnp.array([0, 1, 2])).sum()
    )(hidden)
    assert values == pytest.approx(0.0 - 4000.0 - 2000.0)
    assert np.isfinite(gradient).all()


def test_bfloat16_products_are_summed_in_float32(monkeypatch):
    """Log-probs equal those of the operands rounded to bfloat16, 1e-5.

    The kernel's gradient has the rounding of its terms, 2^-9, not that of a sum over 64 chunks
    in bfloat16: 4e-3 of its norm.
    """
    monkeypatch.setattr(output_head, "TOKENS_PER_CHUNK", 32)
    inputs = random_inputs(2048, seed=5, vocab=99)
    rounded = [np.asarray(jnp.asarray(x, jnp.bfloat16), np.float64) for x in inputs[:2]]
    inputs = (*rounded, np.abs(inputs[2]), inputs[3])  # one sign: sums that grow
    want = dense(*inputs)
    got = jax.jit(lambda *x: scores_and_gradients(*x, dtype=jnp.bfloat16))(*narrow(inputs))
    assert got[0].dtype == got[2][1].dtype == jnp.float32
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
    for g, w in zip(got[2], want[2], strict=True):
        assert np.linalg.norm(g - w) < 4e-3 * np.linalg.norm(w)


def test_memory_grows_with_the_inputs_alone(monkeypatch):
    """Twice the tokens take no more than twice the hidden states and the like, never logits."""
    chunk, width, vocab = 64, 32, 4000
    monkeypatch.setattr(output_head, "TOKENS_PER_CHUNK", chunk)

    def memory(tokens):
        shapes = [((tokens, width), "float32"), ((width, vocab), "float32"), ((tokens,), "int32")]
        hidden, kernel, target = (jax.ShapeDtypeStruct(*s) for s in shapes)

        def total(hidden, kernel, target):
            return jnp.sum(jnp.sin(token_log_probs(hidden, kernel, target)))

        compiled = jax.jit(jax.grad(total, argnums=(0, 1))).lower(hidden, kernel, target).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    few, many = memory(16 * chunk), memory(32 * chunk)
    per_token = 4 * (width + 1)
    assert many - few <= 16 * chunk * per_token
    chunk_logits, kernel = 4 * chunk * vocab, 4 * width * vocab
    assert few < 3 * chunk_logits + 3 * kernel + 16 * chunk * per_token < 4 * 16 * chunk * vocab


@pytest.fixture(scope="module")
def mesh():
    axes = ("data", "fsdp", "tensor")
    return jax.make_mesh((1, 2, 4), axes, axis_types=(AxisType.Auto,) * 3)


def split_scores(mesh, target):
    """`scores_and_gradients` of tokens split over the batch axes and a kernel over `tensor`."""

    def local(hidden, kernel, weight, target):
        *scores, (d_hidden, d_kernel) = scores_and_gradients(
            hidden, kernel, weight, target, tensor=TensorParallel(mesh.shape["tensor"])
        )
        return *scores, (d_hidden, jax.lax.psum(d_kernel, BATCH_AXES))

    rows, split = P(BATCH_AXES), P(None, "tensor")
    return jax.jit(
        jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(rows, split, rows, rows),
            out_specs=(rows, rows, (rows, split)),
            check_vma=False,
        )
    )


def test_a_split_vocabulary_equals_log_softmax(mesh, monkeypatch):
    monkeypatch.setattr(output_head, "TOKENS_PER_CHUNK", 25)
    inputs = random_inputs(180, seed=3)
    got = split_scores(mesh, inputs[3])(*narrow(inputs))
    check(got, dense(*inputs))


def test_loops_over_chunks_do_not_communicate(mesh, monkeypatch):
    """The kernel's gradient is reduced once, and the rest of the reductions are of vectors."""
    monkeypatch.setattr(output_head, "TOKENS_PER_CHUNK", 25)
    inputs = narrow(random_inputs(200))
    program = split_scores(mesh, inputs[3]).lower(*inputs).compile().as_text()
    computations = dict(
        re.findall(r"^(?:ENTRY )?%?([\w.-]+) [^\n]*\{\n(.*?)^\}", program, re.M | re.S)
    )
    reduction = r"= (.+?) (?:all-reduce|all-gather|reduce-scatter|all-to-all|collective)[\w-]*\("

    def reached(name):
        called = re.findall(r"(?:body|condition|calls|to_apply)=%?([\w.-]+)", computations[name])
        return {name}.union(*map(reached, called))

    bodies = re.findall(r" while\(.*body=%?([\w.-]+)", program)
    assert len(bodies) == 2  # forward and backward
    for name in set().union(*map(reached, bodies)):
        assert not re.findall(reduction, computations[name]), name
    shapes = " ".join(re.findall(reduction, program))
    assert shapes.count(f"f32[{WIDTH},{VOCAB // 4}]") == 1
    assert shapes.count(f"f32[100,{WIDTH}]") == 1  # the gradient of the hidden states
    assert len(re.findall(r"f32\[100\]", shapes)) <= 4  # maximum, sum, chosen logit, entropy
