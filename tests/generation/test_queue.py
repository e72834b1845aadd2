"""Sampled token ids against transformers' own `generate`, and of a mesh against one device."""

import numpy as np
import pytest
import torch

from dignified_jax.generation.queue import Queue, TokenRequest
from dignified_jax.generation.settings import Settings
from dignified_jax.models import hf
from dignified_jax.training.step.sharding import MeshConfig, make_mesh
from tests.oracles import hf_models

pytestmark = pytest.mark.wiring

STOPS = (5, 6)
LENGTHS = (3, 20, 9, 5)
# Programs of one family's shapes take seconds to compile; the others have the same parts.
FAST = ("qwen3-tied", "mistral", "smollm3")


def load(family, directory, **overrides):
    reference = hf_models.build(family, scale=3.0, **overrides)
    reference.generation_config.eos_token_id = None
    reference.save_pretrained(directory)
    return reference, *hf.load(directory)


def requests(seed=0, new=12, lengths=LENGTHS):
    rng = np.random.default_rng(seed)
    prompts = [tuple(rng.integers(7, 131, length).tolist()) for length in lengths]
    return [TokenRequest(str(n), prompt, new + n, n) for n, prompt in enumerate(prompts)]


def run(queue, given):
    for each in given:
        queue.add(each)
    found = {}
    while queue.busy:
        found |= {done.request.id: done for done in queue.step()}
    return found


def greedily(reference, request):
    """What transformers samples alone, without the token that ends it, and why it ends."""
    with torch.no_grad():
        whole = reference.generate(
            torch.tensor([request.tokens]),
            max_new_tokens=request.max_new_tokens,
            do_sample=False,
            eos_token_id=list(STOPS),
            pad_token_id=0,
        )
    tokens = whole[0, len(request.tokens) :].tolist()
    return (tuple(tokens[:-1]), "stop") if tokens[-1] in STOPS else (tuple(tokens), "length")


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in hf_models.FAMILIES
    ],
)
def test_greedy_tokens_equal_transformers(family, tmp_path):
    """Four prompts through two slots, so that slots are taken again."""
    reference, model, params = load(family, tmp_path)
    given = requests()
    found = run(Queue(model, params, STOPS, Settings(batch_size=2)), given)
    for request in given:
        done = found[request.id]
        assert (done.tokens, done.finish_reason) == greedily(reference, request), request.id


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    _, model, params = load("qwen3-tied", tmp_path_factory.mktemp("model"))
    return model, params


def test_a_mesh_gives_the_same_tokens(tmp_path):
    _, model, params = load("qwen3-tied", tmp_path, vocab_size=132)
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    _, split = hf.load(tmp_path, mesh=mesh)
    given = requests(new=6)
    want = run(Queue(model, params, STOPS, Settings(batch_size=4)), given)
    assert run(Queue(model, split, STOPS, Settings(batch_size=4), mesh), given) == want


def test_a_response_may_end_for_a_reason_of_its_own(tiny):
    (request,) = requests(lengths=(9,), new=40)
    whole = run(Queue(*tiny, (), Settings()), [request])["0"]
    ends = lambda tokens: 3 if len(tokens) > 3 else None  # noqa: E731
    ended = TokenRequest("0", request.tokens, 40, 0, ends)
    done = run(Queue(*tiny, (), Settings()), [ended])["0"]
    assert (done.tokens, done.finish_reason) == (whole.tokens[:3], "stop")
    assert len(whole.tokens) == 40
