"""Useful FLOPs against a walk over the full mask, and against what XLA counts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax import data
from dignified_jax.models import decoder
from dignified_jax.models.attention.token_tree import TokenTree, visibility
from dignified_jax.models.config import DecoderConfig, Experts
from dignified_jax.models.lora import LoraConfig
from dignified_jax.objectives import LagDPO, PCGradDPO
from dignified_jax.training.step import flops

CONFIG = DecoderConfig(
    architecture="Qwen3ForCausalLM",
    vocab_size=700,
    hidden_size=96,
    intermediate_size=160,
    num_layers=3,
    num_heads=6,
    num_kv_heads=2,
    head_dim=32,
    rope_theta=10000.0,
)


def example(index, prompt, *responses):
    """Arbitrary ids of the given lengths; None for a response that does not exist."""
    ids = [None if n is None else np.ones(n, np.int32) for n in responses]
    return data.TokenizedExample(np.ones(prompt, np.int32), tuple(ids), index)


def packed(*examples, row_length, rows_multiple=1):
    stream = data.BatchStream(
        examples,
        batch_size=len(examples),
        row_length=row_length,
        rows_multiple=rows_multiple,
        shuffle=False,
    )
    return stream.batch(0)


@pytest.fixture
def batch():
    """Three examples in two rows, with padding, and two empty rows."""
    return packed(
        example(0, 11, 7, 5, None, 9, None),
        example(1, 20, 13, None, None, None, 6),
        example(2, 3, 4, 4, 4, 4, 4),
        row_length=64,
        rows_multiple=4,
    )


def walk(config, batch):
    """(tokens, predictions, visible pairs, forward FLOPs), one row, token and pair at a time."""
    tokens = predictions = pairs = 0
    for row in range(batch.tokens.shape[0]):
        used = np.zeros(batch.tokens.shape[1], bool)
        for _, _, start, length in batch.segments[row]:
            used[start : start + length] = True
        until, positions = (x[row : row + 1] for x in (batch.visible_until, batch.positions))
        tree = TokenTree(until, window=config.sliding_window, positions=positions)
        visible = np.asarray(visibility(tree, 0, used.size))[0]
        tokens += used.sum()
        pairs += (visible & used[:, None] & used[None, :]).sum()
        predictions += (batch.response[row] < 5 * len(batch.response_mask)).sum()
    layer = sum(
        2 * leaf.shape[1] * leaf.shape[2] * leaf.shape[0]
        for leaf in jax.tree.leaves(decoder.abstract_params(config)["layers"])
        if leaf.ndim == 3  # matrices stacked over layers; norms are vectors
    )
    head = 2 * config.hidden_size * config.vocab_size
    pair = 2 * 2 * config.num_heads * config.head_dim * config.num_layers
    return tokens, predictions, pairs, tokens * layer + predictions * head + pairs * pair


def test_counts_equal_a_walk_over_the_mask(batch):
    tokens, predictions, pairs, forward = walk(CONFIG, batch)
    assert batch.tokens.shape == (4, 64)
    # By hand: of each example the prompt, the responses' view of it, and each response.
    first = 66 + 11 * 21 + 28 + 15 + 45
    second = 210 + 20 * 19 + 91 + 21
    third = 6 + 3 * 20 + 5 * 10
    assert (tokens, predictions, pairs) == (94, 60, first + second + third)  # of 256 places
    assert flops.useful_tokens(batch) == tokens
    assert flops.useful_flops(CONFIG, batch, False) == 3 * forward
    assert flops.useful_flops(CONFIG, batch, True) == 4 * forward


@pytest.mark.parametrize("window", [1, 5, 16, 200])
def test_a_sliding_window_makes_fewer_pairs_visible(window, batch):
    config = dataclasses.replace(CONFIG, sliding_window=window)
    assert flops.forward_flops(config, batch) == walk(config, batch)[-1]
    assert (walk(config, batch)[2] < walk(CONFIG, batch)[2]) == (window < 200)


def test_a_window_counts_in_the_layers_that_have_it(batch):
    """Two of three layers: their pairs are those of the window, the third one's all."""
    config = dataclasses.replace(CONFIG, sliding_window=5)
    some = dataclasses.replace(config, sliding_layers=(0, 2))
    all_, none = flops.forward_flops(config, batch), flops.forward_flops(CONFIG, batch)
    assert flops.forward_flops(some, batch) == pytest.approx(none + (all_ - none) * 2 / 3)


def test_experts_count_as_far_as_a_token_goes_through_them(batch):
    """By hand: the router, and two of five networks of three matrices of 96 x 40, in 3 layers."""
    experts = Experts(count=5, per_token=2, intermediate_size=40, normalised=True)
    mixed = dataclasses.replace(CONFIG, architecture="Qwen3MoeForCausalLM", experts=experts)
    more = 96 * 5 + 2 * 3 * 96 * 40 - 3 * 96 * 160
    difference = flops.forward_flops(mixed, batch) - flops.forward_flops(CONFIG, batch)
    assert difference == 2 * 94 * 3 * more


def test_combined_gradients_have_a_backward_pass_for_each_dimension(batch):
    """Over the pairs of a dimension alone: those of a batch with its other rejects taken out."""
    lengths = [(11, 7, 5, None, 9, None), (20, 13, None, None, None, 6), (3, 4, 4, 4, 4, 4)]
    forward, backward = flops.forward_flops(CONFIG, batch), 0.0
    for number in range(2, 6):
        pairs = [
            example(0, *row[:2], *(row[at] if at == number else None for at in range(2, 6)))
            for row in lengths
            if row[number] is not None
        ]
        backward += 2 * walk(CONFIG, packed(*pairs, row_length=64))[-1]
    found = flops.useful_flops(CONFIG, batch, True, objective=PCGradDPO())
    assert found == pytest.approx(2 * forward + backward, rel=1e-12)
    assert found > 4 * forward == flops.useful_flops(CONFIG, batch, True, objective=LagDPO())
    goldens = packed(*(example(0, *row[:2], *[None] * 4) for row in lengths), row_length=64)
    more = flops.useful_flops(CONFIG, batch, True, objective=PCGradDPO(golden_nll=0.1)) - found
    assert more == pytest.approx(2 * walk(CONFIG, goldens)[-1], rel=1e-12)


def test_by_hand():
    """Prompt of 2, golden of 3: 5 tokens, 15 pairs, 3 predictions; every width 2, 1 layer."""
    config = dataclasses.replace(
        CONFIG,
        **{"vocab_size": 10, "hidden_size": 2, "intermediate_size": 2, "num_layers": 1},
        **{"num_heads": 1, "num_kv_heads": 1, "head_dim": 2},
    )
    batch = packed(example(0, 2, 3, None, None, None, None), row_length=8)
    matrices = 4 + 4 + 4 + 4 + 3 * 4  # q, k, v, o, and the MLP's three
    forward = 5 * 2 * matrices + 3 * 2 * 2 * 10 + 15 * (2 * 2 + 2 * 2)
    assert flops.useful_flops(config, batch, False) == 3 * forward


def test_padding_and_empty_rows_add_nothing(batch):
    examples = [
        example(0, 11, 7, 5, None, 9, None),
        example(1, 20, 13, None, None, None, 6),
        example(2, 3, 4, 4, 4, 4, 4),
    ]
    long = packed(*examples, row_length=500)
    assert long.tokens.size == 500
    assert flops.useful_flops(CONFIG, long, True) == flops.useful_flops(CONFIG, batch, True)


def test_a_model_of_billions_does_not_overflow():
    """Qwen3-4B's layers hold 3.6e9 weights: 6 a token and weight, attention apart."""
    config = dataclasses.replace(
        CONFIG,
        **{"vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728},
        **{"num_layers": 36, "num_heads": 32, "num_kv_heads": 8, "head_dim": 128},
    )
    batch = packed(example(0, 1000, 500, 500, 500, 500, 500), row_length=4096)
    _, _, _, forward = walk(config, batch)
    assert flops.useful_flops(config, batch, False) == pytest.approx(
        3.0 * float(forward), rel=1e-12
    )
    assert 3500 * 6 * 3.6e9 < 3.0 * forward < 1.3 * 3500 * 6 * 3.6e9


def test_xla_counts_the_same_for_a_dense_sequence():
    """One unpacked sequence, forward and backward, no recomputation; within 1 percent.

    XLA also counts elementwise operations (0.6 percent here), and every pair of the dense mask,
    which is added to ours.
    """
    prompt, response = 96, 160
    length = prompt + response
    config = dataclasses.replace(
        CONFIG,
        **{"vocab_size": 2000, "hidden_size": 512, "intermediate_size": 1024, "num_layers": 1},
        **{"num_heads": 4, "num_kv_heads": 2, "head_dim": 64},
    )
    batch = packed(example(0, prompt, response, None, None, None, None), row_length=length)
    model = decoder.Decoder(config, remat="none", attention="dense")

    def loss(params, tokens):
        hidden = model.apply({"params": params}, tokens, method=decoder.Decoder.hidden_states)
        logits = jnp.dot(hidden[0, prompt - 1 : -1], decoder.output_kernel(config, params))
        targets = tokens[0, prompt:, None]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), targets, axis=1).sum()

    params = decoder.abstract_params(config)
    tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)

    def counted(function):
        return jax.jit(function).lower(params, tokens).compile().cost_analysis()["flops"]

    invisible = length * length - length * (length + 1) // 2
    extra = 4.0 * invisible * config.num_heads * config.head_dim
    whole = flops.useful_flops(config, batch, False)
    forward = flops.useful_flops(config, batch, True) - whole
    assert counted(loss) == pytest.approx(forward + extra, rel=0.01)
    assert counted(jax.grad(loss)) == pytest.approx(whole + 3 * extra, rel=0.01)


def test_xla_counts_the_same_for_loras_gradient():
    """As above, 1 percent: no product for a frozen weight's gradient is in the program."""
    length = 192
    lora = LoraConfig(rank=8, targets=("q_proj", "v_proj", "o_proj", "down_proj"))
    config = dataclasses.replace(
        CONFIG,
        **{"vocab_size": 16, "hidden_size": 512, "intermediate_size": 1024, "num_layers": 1},
        **{"num_heads": 4, "num_kv_heads": 2, "head_dim": 64},
    )
    batch = packed(example(0, 1, length - 1, None, None, None, None), row_length=length)
    model = decoder.Decoder(config, remat="none", attention="dense", lora=lora)
    tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), tokens)

    def total(lora, params, tokens):
        weights = {"params": params, "lora": lora}
        return model.apply(weights, tokens, method=decoder.Decoder.hidden_states).sum()

    arguments = (shapes["lora"], shapes["params"], tokens)
    counted = jax.jit(jax.grad(total)).lower(*arguments).compile().cost_analysis()["flops"]
    invisible = length * length - length * (length + 1) // 2
    extra = 12.0 * invisible * config.num_heads * config.head_dim
    # Nothing is trained below the only layer, so q_proj, k_proj and v_proj have no gradient of
    # their input; and there is no output head here.
    unused = 2.0 * length * 512 * ((4 + 2 + 2) * 64 + 2 * lora.rank)
    head = 2 * 2.0 * (length - 1) * 512 * 16
    expected = flops.useful_flops(config, batch, False, lora) + extra - unused - head
    assert counted == pytest.approx(expected, rel=0.01)
    whole = flops.useful_flops(config, batch, False)
    assert flops.useful_flops(config, batch, True, lora) < 0.8 * whole * 4 / 3


@pytest.mark.parametrize(
    ("kind", "dtype", "peak"),
    [
        ("TPU v4", "bfloat16", 275e12),
        ("TPU v5 lite", "bfloat16", 197e12),
        ("TPU v5e", "bfloat16", 197e12),
        ("TPU v5", "bfloat16", 459e12),
        ("TPU v5p", "bfloat16", 459e12),
        ("TPU v6 lite", "bfloat16", 918e12),
        ("TPU v6e", "bfloat16", 918e12),
        ("TPU7x", "bfloat16", 1153.5e12),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312e12),
        ("NVIDIA A100-PCIE-40GB", "float32", 156e12),
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.4e12),
        ("NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("NVIDIA H200", "bfloat16", 989.4e12),
        ("NVIDIA B200", "bfloat16", 2250e12),
        ("TPU v5p", "float32", None),  # no figure of the vendor's
        ("TPU v4 lite", "bfloat16", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bfloat16", None),
        ("NVIDIA H100 NVL", "bfloat16", None),
        ("TPU v3", "bfloat16", None),
        ("cpu", "float32", None),
        ("NVIDIA GeForce RTX 4090", "bfloat16", None),
    ],
)
def test_peaks(kind, dtype, peak):
    assert flops.peak_flops(kind, dtype) == peak


def test_utilisation_is_of_all_devices_peaks():
    assert flops.utilisation(3e9, seconds=0.5, devices=4, peak=6e9) == 0.25
