"""Steered sampling with a cache against transformers' `generate` under forward hooks."""

import dataclasses

import numpy as np
import pytest
import torch

from dignified_jax.generation.queue import Queue
from dignified_jax.generation.settings import Settings
from dignified_jax.generation.steering import Steering
from dignified_jax.models import hf
from dignified_jax.models.residual import Cap, make_edits
from dignified_jax.training.step.sharding import MeshConfig, make_mesh
from tests.generation.test_queue import load, requests, run
from tests.oracles import torch_hooks

pytestmark = pytest.mark.wiring

NEW = 12
POSITIONS = ("all", "prompt", "response")
VECTORS = np.random.default_rng(1).normal(size=(3, 48)).astype(np.float32)
ADDED = {1: 4 * VECTORS[0]}
CAPS = [Cap(0, VECTORS[1], high=-0.5), Cap(2, VECTORS[2], -1.0, 1.0)]


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory):
    return load("qwen3-tied", tmp_path_factory.mktemp("qwen3"))


def at(positions, edit):
    """The edit at the tokens of one pass of `generate`: of the prompt first, then one by one."""

    def edit_some(layer, x):
        new = edit(layer, x)
        if positions == "prompt" and x.shape[1] == 1:
            return x
        if positions == "response":
            return torch.cat([x[:, :-1], new[:, -1:]], dim=1)
        return new

    return edit_some


def from_transformers(reference, given, edit):
    """Responses of a batch, its prompts padded on the left."""
    longest = max(len(each.tokens) for each in given)
    tokens = torch.zeros((len(given), longest), dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for row, each in enumerate(given):
        tokens[row, longest - len(each.tokens) :] = torch.tensor(each.tokens)
        mask[row, longest - len(each.tokens) :] = 1
    with torch_hooks.hooked(reference, edit):
        whole = reference.generate(
            tokens, attention_mask=mask, max_new_tokens=NEW, do_sample=False, pad_token_id=0
        )
    return {each.id: tuple(whole[row, longest:].tolist()) for row, each in enumerate(given)}


def check(reference, model, params, positions, added=ADDED):
    given = [dataclasses.replace(each, max_new_tokens=NEW) for each in requests()]
    steering = Steering(make_edits(model.config, added, CAPS), positions)
    queue = Queue(model, params, (), Settings(batch_size=4), steering=steering)
    got = {name: done.tokens for name, done in run(queue, given).items()}
    edit = torch_hooks.make_edit(added, CAPS)
    want = {name: from_transformers(reference, given, at(name, edit)) for name in POSITIONS}
    assert got == want.pop(positions)
    assert got not in (*want.values(), from_transformers(reference, given, None))


@pytest.mark.parametrize(
    "positions",
    [
        "response",
        pytest.param("all", marks=pytest.mark.slow),
        pytest.param("prompt", marks=pytest.mark.slow),
    ],
)
def test_steered_responses_equal_those_under_forward_hooks(positions, qwen3):
    """Token for token, in float32; and not those without, or with edits at other tokens."""
    check(*qwen3, positions)


@pytest.mark.slow
@pytest.mark.parametrize(("tied", "scale"), [(False, 1), (True, 4)], ids=["llama", "smollm2"])
def test_so_do_those_of_other_families(tied, scale, tmp_path):
    """SmolLM2 is a Llama with tied embeddings. A vector that is too long says one word only."""
    added = {1: scale * VECTORS[0]}
    check(*load("llama3", tmp_path, tie_word_embeddings=tied), "all", added)


@pytest.mark.slow
def test_a_mesh_is_steered_alike(tmp_path):
    """Over data, fsdp and tensor, at the tokens of responses."""
    _, model, params = load("qwen3-tied", tmp_path, vocab_size=132)
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    _, split = hf.load(tmp_path, mesh=mesh)
    given = requests(new=6)
    steering = Steering(make_edits(model.config, ADDED, CAPS), "response")
    settings = Settings(batch_size=4)
    want = run(Queue(model, params, (), settings, steering=steering), given)
    assert run(Queue(model, split, (), settings, mesh, steering), given) == want
    assert run(Queue(model, params, (), settings), given) != want
