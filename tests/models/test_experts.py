"""Experts against a plain loop over tokens, and their load against transformers' own loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen as nn
from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

from dignified_jax.models import grouped
from dignified_jax.models.attention.token_tree import TokenTree, causal_tree
from dignified_jax.models.config import DecoderConfig, Experts
from dignified_jax.models.experts import ExpertLoad, ExpertMLP
from dignified_jax.models.lora import LoraConfig, check_targets
from dignified_jax.models.tensor_parallel import TensorParallel

pytestmark = pytest.mark.wiring

HIDDEN, COUNT = 12, 5
CONFIG = DecoderConfig(
    *("Qwen3MoeForCausalLM", 64, HIDDEN, 999, 1, 2, 1, 8, 1e4),
    experts=Experts(count=COUNT, per_token=2, intermediate_size=7, normalised=True),
)
# Two rows of 9: a prompt of 4 with a response of 3, then padding; a prompt of 9.
SEGMENTS = [[[0, 0, 0, 4], [0, 4, 4, 3]], [[0, 0, 0, 9], [0, 0, 9, 0]]]
TREE = TokenTree(jnp.zeros((2, 9), jnp.int32), jnp.array(SEGMENTS, jnp.int32), 9, 9)
USED = np.arange(9) < np.array([[7], [9]])


def module(normalised=True, dtype=jnp.float32):
    experts = Experts(COUNT, 2, 7, normalised)
    config = CONFIG.__class__(**{**vars(CONFIG), "experts": experts})
    return ExpertMLP(config, dtype, TensorParallel(), nn.silu)


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 9, HIDDEN)).astype(np.float32)
    shapes = jax.eval_shape(module().init, jax.random.key(0), x, TREE)["params"]
    return x, jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def one_token(x, params, normalised):
    """(output, router's probabilities, chosen experts) in float64."""
    scores = x @ np.float64(params["gate"]["kernel"])
    probability = np.exp(scores - scores.max())
    probability /= probability.sum()
    chosen = np.argsort(-probability)[:2]
    weights = probability[chosen] / (probability[chosen].sum() if normalised else 1.0)
    output = np.zeros(HIDDEN)
    for weight, expert in zip(weights, chosen, strict=True):
        matrices = [params["experts"][f"{name}_proj"][expert] for name in ("gate", "up", "down")]
        gate, up = x @ np.float64(matrices[0]), x @ np.float64(matrices[1])
        output += weight * ((gate / (1 + np.exp(-gate)) * up) @ np.float64(matrices[2]))
    return output, probability, chosen


@pytest.fixture(params=[1, 3, 8, 100])
def block(request, monkeypatch):
    """Places of a block; 1 is the product of TPUs, `jax.lax.ragged_dot`."""
    monkeypatch.setattr(grouped, "block_size", lambda *_: request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("normalised", [True, False])
def test_every_token_goes_through_its_experts_and_padding_through_none(normalised):
    """1e-5 of the largest entry; what experts had to do is counted without padding."""
    x, params = inputs()
    output, load = jax.jit(module(normalised).apply)({"params": params}, x, TREE)
    want, counts, sums = np.zeros(x.shape), np.zeros(COUNT), np.zeros(COUNT)
    for place in zip(*np.nonzero(USED), strict=True):
        want[place], probability, chosen = one_token(np.float64(x[place]), params, normalised)
        counts[chosen] += 1
        sums += probability
    np.testing.assert_allclose(output, want, rtol=0, atol=1e-5 * np.abs(want).max())
    np.testing.assert_array_equal(load.chosen, counts)
    np.testing.assert_allclose(load.probability, sums, rtol=1e-5)
    assert load.tokens == 16 == counts.sum() / 2


@pytest.mark.usefixtures("block")
def test_an_expert_may_have_all_tokens_or_none():
    """No capacity: with a router that always prefers experts 1 and 3, the rest stay idle."""
    x, params = inputs()
    x[..., 0] = 50.0
    kernel = np.zeros((HIDDEN, COUNT), np.float32)
    kernel[0] = [0, 1, 0, 0.9, 0]
    params["gate"]["kernel"] = kernel
    output, load = module().apply({"params": params}, x, causal_tree(2, 9))
    np.testing.assert_array_equal(load.chosen, [0, 18, 0, 18, 0])
    want = one_token(np.float64(x[1, 8]), params, True)[0]
    np.testing.assert_allclose(output[1, 8], want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.usefixtures("block")
def test_gradients_are_those_of_all_experts_weighted():
    """1e-5 of each leaf's largest, against every expert applied to every token."""
    x, params = inputs()
    cotangent = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)

    def plain(x, params):
        probability = jax.nn.softmax(x @ params["gate"]["kernel"])
        weights, chosen = jax.lax.top_k(probability, 2)
        weights = weights / weights.sum(-1, keepdims=True)
        weights = (jax.nn.one_hot(chosen, COUNT) * weights[..., None]).sum(-2)
        product = lambda x, name: jnp.einsum("...h,ehw->...ew", x, params["experts"][name])  # noqa: E731
        units = nn.silu(product(x, "gate_proj")) * product(x, "up_proj")
        every = jnp.einsum("...ew,ewh->...eh", units, params["experts"]["down_proj"])
        mixed = jnp.einsum("...eh,...e->...h", every, weights)
        return jnp.sum(jnp.where(USED[..., None], mixed, 0) * cotangent)

    def ours(x, params):
        return jnp.sum(module().apply({"params": params}, x, TREE)[0] * cotangent)

    got, want = (jax.jit(jax.grad(f, argnums=(0, 1)))(x, params) for f in (ours, plain))
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=1e-5 * np.abs(w).max())


def test_the_router_is_in_float32_whatever_the_products_are():
    """Its probabilities have float32's rounding, 1e-6, of bfloat16 states."""
    x, params = inputs()
    narrow = x.astype(jnp.bfloat16)
    output, load = module(dtype=jnp.bfloat16).apply({"params": params}, narrow, causal_tree(2, 9))
    assert output.dtype == jnp.bfloat16
    scores = np.float64(narrow).reshape(-1, HIDDEN) @ np.float64(params["gate"]["kernel"])
    probability = np.exp(scores - scores.max(-1, keepdims=True))
    probability /= probability.sum(-1, keepdims=True)
    np.testing.assert_allclose(load.probability, probability.sum(0), rtol=1e-6)


def test_the_balance_loss_of_a_layer_is_that_of_transformers():
    """1e-6; over layers it is the mean. The gradient is with respect to probabilities alone."""
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(3, 18, COUNT)).astype(np.float32)
    mask = USED.astype(np.int64)
    wants = [
        load_balancing_loss_func(
            (torch.as_tensor(layer),), COUNT, 2, attention_mask=torch.as_tensor(mask)
        ).item()
        for layer in scores
    ]
    probability = jax.nn.softmax(scores)
    chosen = jax.nn.one_hot(jax.lax.top_k(probability, 2)[1], COUNT).sum(-2)
    used = mask.reshape(-1, 1)
    load = ExpertLoad((chosen * used).sum(1), (probability * used).sum(1), jnp.full(3, used.sum()))
    assert load.balance_loss() == pytest.approx(np.mean(wants), rel=1e-6)


def test_even_loads_cost_the_number_of_experts_of_a_token():
    even = ExpertLoad(jnp.full((1, 4), 6.0), jnp.full((1, 4), 3.0), jnp.array([12.0]))
    assert even.balance_loss() == 2.0 and even.busiest() == 1.0
    one = even._replace(chosen=jnp.array([[12.0, 12.0, 0.0, 0.0]]))
    assert one.busiest() == 2.0


def test_lora_has_no_matrices_of_experts():
    check_targets(LoraConfig(rank=2), CONFIG)
    check_targets(LoraConfig(rank=2, targets=("o_proj",)), CONFIG)
    with pytest.raises(ValueError, match=r"lora.targets: of Qwen3MoeForCausalLM.*'up_proj'"):
        check_targets(LoraConfig(rank=2, targets=("q_proj", "up_proj")), CONFIG)


def test_more_experts_a_token_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"num_experts_per_tok \(6\) is more than num_experts"):
        Experts(5, 6, 7, True)
