"""Schedules by hand, and AdamW with clipping and decay against torch.optim.AdamW."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
import torch

from dignified_jax.models import partition
from dignified_jax.models.decoder import abstract_params
from dignified_jax.models.hf.config import read_config
from dignified_jax.objectives import LagDPO
from dignified_jax.training.step import optimizer, sharding
from dignified_jax.training.step.optimizer import OptimizerConfig, make_optimizer, make_schedule
from dignified_jax.training.step.state import init_state
from tests.oracles import hf_models


def rates(steps, **fields):
    """The learning rate of every step."""
    schedule = make_schedule(OptimizerConfig(learning_rate=2.0, **fields), steps)
    return [float(schedule(step)) for step in range(steps)]


@pytest.mark.parametrize(
    ("schedule", "fraction", "expected"),
    [
        ("constant", 0.0, [2, 2, 2, 2, 2]),
        ("constant", 0.4, [1, 2, 2, 2, 2]),
        ("constant", 0.2, [2, 2, 2, 2, 2]),  # a single step of warm-up is at the peak
        ("constant", 1.0, [0.4, 0.8, 1.2, 1.6, 2.0]),
        ("linear", 0.0, [2, 1.6, 1.2, 0.8, 0.4]),
        ("linear", 0.4, [1, 2, 2, 4 / 3, 2 / 3]),
        ("cosine", 0.0, [1 + math.cos(math.pi * t / 5) for t in range(5)]),
        ("cosine", 0.2, [2, 2, 1 + math.sqrt(0.5), 1, 1 - math.sqrt(0.5)]),
        ("cosine", 0.6, [2 / 3, 4 / 3, 2, 2, 1]),
    ],
)
def test_schedules_by_hand(schedule, fraction, expected):
    assert rates(5, schedule=schedule, warmup_fraction=fraction) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_decay_has_reached_0_after_the_last_step(schedule):
    config = OptimizerConfig(learning_rate=2.0, schedule=schedule)
    assert float(make_schedule(config, 50)(50)) == pytest.approx(0.0, abs=1e-7)
    assert min(rates(50, schedule=schedule)) > 0  # and every step of the run moves


def test_the_default_warms_up_over_a_tenth_and_never_rises_again():
    values = rates(100)
    assert values[:10] == pytest.approx([0.2 * (t + 1) for t in range(10)])
    assert values[9:] == sorted(values[9:], reverse=True)


def random_tree(rng, scale=1.0):
    """Names and kinds of a decoder's parameters, in little."""
    shapes = {
        "embed_tokens": {"embedding": (7, 4)},
        "layers": {
            "input_layernorm": {"scale": (2, 4)},
            "mlp": {"up_proj": {"kernel": (2, 4, 6)}},
            "self_attn": {"q_norm": {"scale": (2, 3)}, "q_proj": {"kernel": (2, 4, 6)}},
        },
        "lm_head": {"kernel": (4, 7)},
        "norm": {"scale": (4,)},
    }
    return jax.tree.map(
        lambda shape: scale * rng.normal(size=shape).astype(np.float32),
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def is_scale(path):
    return path[-1].key == "scale"


@pytest.mark.parametrize("clip_norm", [None, 2.0])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_equal_torch(weight_decay, clip_norm):
    """8 steps of AdamW, the schedule set by hand in torch; parameters to 1e-6 absolute.

    Gradients differ a hundredfold in norm between steps, so that clipping some of them matters
    even to Adam.
    """
    config = OptimizerConfig(
        learning_rate=0.02,
        schedule="linear",
        warmup_fraction=0.25,
        b1=0.8,
        b2=0.95,
        eps=1e-4,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
    )
    optimizer = make_optimizer(config, 8)
    rng = np.random.default_rng(0)
    params = random_tree(rng)
    gradients = [random_tree(rng, scale) for scale in (1, 0.01, 0.1, 3, 0.02, 0.5, 0.01, 1)]

    leaves = [torch.nn.Parameter(torch.tensor(leaf)) for leaf in jax.tree.leaves(params)]
    paths = [path for path, _ in jax.tree.leaves_with_path(params)]
    kinds = [
        {"params": [x for x, p in zip(leaves, paths, strict=True) if is_scale(p) == scale]}
        for scale in (False, True)
    ]
    kinds[0]["weight_decay"], kinds[1]["weight_decay"] = weight_decay, 0.0
    reference = torch.optim.AdamW(kinds, lr=0.0, betas=(0.8, 0.95), eps=1e-4)
    hand_rates = [0.01, 0.02] + [0.02 * (1 - t / 6) for t in range(6)]

    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for gradient, rate in zip(gradients, hand_rates, strict=True):
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        for leaf, g in zip(leaves, jax.tree.leaves(gradient), strict=True):
            leaf.grad = torch.tensor(g)
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(leaves, clip_norm)
        for group in reference.param_groups:
            group["lr"] = rate
        reference.step()
        for path, got, want in zip(paths, jax.tree.leaves(params), leaves, strict=True):
            np.testing.assert_allclose(got, want.detach(), rtol=0, atol=1e-6, err_msg=str(path))


def test_clipping_changes_the_result_above():
    """The first moment after a step is (1 - b1) times the gradient, clipped or not."""
    rng = np.random.default_rng(1)
    params, gradient = random_tree(rng), random_tree(rng, 10.0)
    norm = float(np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in jax.tree.leaves(gradient))))
    for clip_norm, scale in [(None, 1.0), (0.5, 0.5 / norm), (2 * norm, 1.0)]:
        optimizer = make_optimizer(OptimizerConfig(clip_norm=clip_norm), 10)
        _, state = optimizer.update(gradient, optimizer.init(params), params)
        mu = optax.tree.get(state, "mu")
        for got, g in zip(jax.tree.leaves(mu), jax.tree.leaves(gradient), strict=True):
            np.testing.assert_allclose(got, 0.1 * scale * g, rtol=1e-5)


def test_a_first_moment_in_bfloat16_by_hand():
    """Four steps of Adam in NumPy whose first moment is rounded at rest; parameters 1e-6.

    The update uses the moment before it is rounded.
    """
    fields = {"learning_rate": 0.1, "schedule": "constant", "warmup_fraction": 0.0}
    config = OptimizerConfig(**fields, b1=0.8, b2=0.95, eps=1e-3, mu_dtype="bfloat16")
    optimizer = make_optimizer(dataclasses.replace(config, clip_norm=None), 4)
    rng = np.random.default_rng(3)
    params = {"kernel": rng.normal(size=(5, 3)).astype(np.float32)}
    hand = params["kernel"].astype(np.float64)
    first, second = np.zeros((5, 3)), np.zeros((5, 3))
    rounded = 0.0
    state = optimizer.init(params)
    for step in range(1, 5):
        gradient = rng.normal(size=(5, 3)).astype(np.float32)
        updates, state = optimizer.update({"kernel": gradient}, state, params)
        params = optax.apply_updates(params, updates)
        first = 0.8 * first + 0.2 * gradient
        second = 0.95 * second + 0.05 * gradient.astype(np.float64) ** 2
        corrected = first / (1 - 0.8**step), second / (1 - 0.95**step)
        hand -= 0.1 * corrected[0] / (np.sqrt(corrected[1]) + 1e-3)
        np.testing.assert_allclose(params["kernel"], hand, rtol=0, atol=1e-6)
        whole, first = first, first.astype(ml_dtypes.bfloat16).astype(np.float64)
        rounded = max(rounded, np.abs(whole - first).max())
        mu = optax.tree.get(state, "mu")["kernel"]
        assert mu.dtype == jnp.bfloat16
        np.testing.assert_array_equal(np.asarray(mu).astype(np.float64), first)
    assert rounded > 1e-4  # and so the rounding is in what is compared


@pytest.mark.parametrize("mu_dtype", ["float32", "bfloat16"])
def test_bytes_and_shardings_of_the_moments(mu_dtype):
    """Of float32 parameters over two devices of fsdp: 4 bytes for the second, 4 or 2 for mu."""
    mesh = sharding.make_mesh(sharding.MeshConfig(fsdp=2), jax.devices()[:2])
    optimizer = make_optimizer(OptimizerConfig(mu_dtype=mu_dtype), 4)
    params = random_tree(np.random.default_rng(0))
    params = jax.device_put(params, partition.param_shardings(params, mesh))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, params)
    state = init_state(params, LagDPO(), 4, optimizer, mesh)
    mu, nu = (optax.tree.get(state.opt_state, name) for name in ("mu", "nu"))
    bytes_each = {"float32": 4, "bfloat16": 2}[mu_dtype]
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(mu)) == bytes_each * count
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(nu)) == 4 * count
    for moment in (mu, nu):
        assert jax.tree.map(lambda leaf: leaf.sharding, moment) == shardings


def test_moments_do_not_follow_narrow_parameters():
    """In bfloat16 a decay of 0.999 is 1: 800 gradients of 1 and 800 of 0.01 give Adam's updates.

    By hand: with a constant gradient both corrected moments are its own, so the update is the
    rate; after the fall the second is 0.999**800 of the former one's, and the first has forgotten.
    """
    params = {"kernel": jnp.ones(2, jnp.bfloat16)}
    config = OptimizerConfig(learning_rate=1.0, schedule="constant", warmup_fraction=0.0)
    adam = make_optimizer(dataclasses.replace(config, clip_norm=None), 4)
    state = adam.init(params)
    for name in ("mu", "nu"):
        assert optax.tree.get(state, name)["kernel"].dtype == jnp.float32

    @jax.jit
    def updated(state, size):
        def body(_, carried):
            return adam.update({"kernel": jnp.full(2, size, jnp.bfloat16)}, carried[1], params)

        return jax.lax.fori_loop(0, 800, body, ({"kernel": jnp.zeros(2)}, state))

    update, state = updated(state, 1.0)
    np.testing.assert_allclose(update["kernel"], -1.0, rtol=1e-2)
    update, _ = updated(state, 0.01)
    left = 0.999**800
    second = (left * (1 - left) + 1e-4 * (1 - left)) / (1 - left**2)
    np.testing.assert_allclose(update["kernel"], -0.01 / math.sqrt(second), rtol=1e-2)


@pytest.mark.parametrize("family", ["llama3", "qwen3"])
def test_weight_decay_spares_norm_scales_of_the_decoder(family, tmp_path):
    """With gradients of 0 matrices shrink by the factor 1 - rate * decay, scales stay."""
    hf_models.FAMILIES[family]().save_pretrained(tmp_path)
    shapes = abstract_params(read_config(tmp_path))
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.5), shapes)
    config = OptimizerConfig(learning_rate=0.1, schedule="constant", warmup_fraction=0.0)
    config = dataclasses.replace(config, weight_decay=0.2)
    optimizer = make_optimizer(config, 10)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = jax.jit(optimizer.update)(zeros, optimizer.init(params), params)
    moved = {True: 0, False: 0}
    for path, leaf in jax.tree.leaves_with_path(updates):
        expected = 0.0 if "norm" in jax.tree_util.keystr(path) else -0.5 * 0.1 * 0.2
        np.testing.assert_allclose(leaf, expected, rtol=1e-6, err_msg=str(path))
        moved[expected != 0] += 1
    assert moved == {False: 5 if family == "qwen3" else 3, True: 9}


def test_lost_updates_of_bfloat16_are_told():
    """Against the arithmetic itself: which weights does an update of the learning rate move?"""
    rate = 5e-7
    said = optimizer.lost_updates(OptimizerConfig(learning_rate=rate), "bfloat16")
    assert "model.param_dtype=float32" in said and "\n" not in said
    weights = jnp.asarray(np.random.default_rng(0).normal(0, 0.02, 100_000), jnp.bfloat16)
    moved = (weights - jnp.bfloat16(rate)) != weights
    assert moved.mean() < 0.02
    limit = float(said.split("weights above ")[1].split(";")[0])
    assert not moved[jnp.abs(weights) > limit].any()
    assert optimizer.lost_updates(OptimizerConfig(learning_rate=rate), "float32") == ""
    assert optimizer.lost_updates(OptimizerConfig(learning_rate=2e-4), "bfloat16") == ""
