"""What layers keep for the backward pass: equal gradients, and memory and work as documented."""

import itertools

import jax
import numpy as np
import pytest

from dignified_jax.data import BatchStream
from dignified_jax.models import logprobs
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Decoder
from tests.oracles import sequences

pytestmark = pytest.mark.wiring

CONFIG = DecoderConfig("Qwen3ForCausalLM", 131, 32, 96, 4, 2, 1, 16, 1e4)
# From least memory to most.
POLICIES = ("full", "attention", "dots", "none")


@pytest.fixture(scope="module")
def params():
    draw = jax.jit(Decoder(CONFIG).init)
    return draw(jax.random.key(0), np.zeros((1, 2), np.int32))["params"]


def lowered(params, attention):
    """The gradient of log-probs under each policy, not compiled yet."""
    examples = sequences.random_examples(8, 0, prompt=40, response=30)
    batch = BatchStream(examples, batch_size=8, row_length=512).batch(0)

    def total(params, remat):
        model = Decoder(CONFIG, remat=remat, attention=attention)
        return logprobs.response_log_probs(model, params, batch).sum()

    gradient = jax.jit(jax.grad(total), static_argnums=1)
    return {remat: gradient.lower(params, remat) for remat in POLICIES}


@pytest.mark.parametrize("attention", ["dense", pytest.param("blocks", marks=pytest.mark.slow)])
def test_gradients_are_equal_and_memory_as_documented(attention, params):
    """2e-6 of a parameter's largest entry: only rounding differs, from fusion."""
    compiled = {remat: program.compile() for remat, program in lowered(params, attention).items()}
    gradients = {remat: program(params) for remat, program in compiled.items()}
    for remat in POLICIES:
        pairs = zip(*map(jax.tree.leaves, (gradients[remat], gradients["full"])), strict=True)
        for got, want in pairs:
            assert np.abs(got - want).max() <= 2e-6 * np.abs(want).max(), remat
    memory = [compiled[remat].memory_analysis().temp_size_in_bytes for remat in POLICIES]
    assert all(less < 0.95 * more for less, more in itertools.pairwise(memory)), memory


def test_what_is_kept_is_not_computed_again(params):
    """By the matrix products in the program, where layers are scanned, so each stands once."""
    programs = lowered(params, "blocks")
    products = {name: lines.as_text().count("dot_general") for name, lines in programs.items()}
    forward_and_backward = products["none"]
    assert products["dots"] == forward_and_backward
    assert products["attention"] == forward_and_backward + 3  # output, gate, up
    # Queries, keys, values; scores and mixture of a pair of blocks.
    assert products["full"] == products["attention"] + 5


def test_a_misspelt_name_is_refused(params):
    with pytest.raises(ValueError, match=r"remat: expected one of none, dots, .*, found 'dot'"):
        Decoder(CONFIG, remat="dot").apply({"params": params}, np.zeros((1, 2), np.int32))
