"""A policy's score against transformers on separate sequences, and NumPy in double precision."""

import json

import jax
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from dignified_jax import data
from dignified_jax.comparison import policy_scores
from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.objectives import MultiNegativeDPO
from dignified_jax.training.config import ConfigError
from dignified_jax.training.step import sharding
from tests.oracles import hf_models, sequences, tiny_run

pytestmark = pytest.mark.wiring

BETA = 0.3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The model and the rows of `tiny_run`, and a policy that has moved away from the model."""
    directory = tmp_path_factory.mktemp("source")
    tiny_run.write(directory)
    model = AutoModelForCausalLM.from_pretrained(directory / "model", dtype="float32")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    model.save_pretrained(directory / "policy")
    return directory


@pytest.fixture(scope="module")
def scorer(root):
    """On four devices that split rows, parameters and vocabulary."""
    config = tiny_run.config(
        root,
        root / "judge",
        method=MultiNegativeDPO(beta=BETA),
        data__train=str(root / "test.jsonl"),
        data__validation_fraction=0.0,
        mesh__fsdp=2,
        mesh__tensor=2,
    )
    make = sharding.make_mesh
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", lambda config: make(config, jax.devices()[:4]))
        return policy_scores.make_scorer(config)


def test_scores_say_which_test_rows_they_were_made_on(root, tmp_path):
    """A row that changed in the file is seen without the model, and without a score."""
    rows = (root / "test.jsonl").read_text(encoding="utf-8")
    (tmp_path / "test.jsonl").write_text(rows, encoding="utf-8")
    file = str(tmp_path / "test.jsonl")
    config = tiny_run.config(
        root,
        tmp_path / "judge",
        method=MultiNegativeDPO(beta=BETA),
        data__train=file,
        data__test=file,
        data__validation_fraction=0.0,
        mesh__fsdp=8,
    )
    before = policy_scores.made_on(policy_scores.prepare_rows(config))
    assert policy_scores.made_on(policy_scores.prepare_rows(config)) == before
    first = json.loads(rows.splitlines()[0])
    changed = rows.replace(json.dumps(first["golden"]), json.dumps(first["golden"] + "!"), 1)
    assert changed != rows
    (tmp_path / "test.jsonl").write_text(changed, encoding="utf-8")
    after = policy_scores.made_on(policy_scores.prepare_rows(config))
    assert after.keys() == before.keys()
    assert {name for name in before if before[name] != after[name]} == {"test rows"}


@pytest.fixture(scope="module")
def examples(root):
    tokenizer = load_tokenizer(root / "model")
    return data.encode(data.read_rows(root / "test.jsonl"), tokenizer)[0]


def log_softmax(root, name, examples):
    """((5 * example, length - 1, vocab) log-probs, next tokens, mask of response tokens)."""
    tokens, mask = sequences.separate(examples)
    model = AutoModelForCausalLM.from_pretrained(root / name, dtype="float32")
    logits = hf_models.logits(model, tokens)[:, :-1].astype(np.float64)
    largest = logits.max(axis=-1, keepdims=True)
    logits -= largest + np.log(np.exp(logits - largest).sum(axis=-1, keepdims=True))
    return logits, tokens[:, 1:], mask[:, 1:]


def test_a_score_equals_transformers_on_separate_sequences(root, scorer, examples):
    """KL and losses 1e-4 relative (float32 against double), accuracies and baseline exactly."""
    found = policy_scores.score(scorer, root / "policy")
    policy, tokens, mask = log_softmax(root, "policy", examples)
    reference, _, _ = log_softmax(root, "model", examples)

    divergence = (np.exp(policy) * (policy - reference)).sum(axis=-1)
    assert found["tokens"] == mask.sum()
    assert found["kl"] == pytest.approx(divergence[mask].mean(), rel=1e-4)
    assert found["kl"] > 0.01

    chosen = np.take_along_axis(policy - reference, tokens[..., None], axis=-1)[..., 0]
    ratios = np.where(mask, chosen, 0.0).sum(axis=1).reshape(-1, 5)
    lengths = mask.sum(axis=1).reshape(-1, 5)
    there = sequences.response_mask(examples)
    assert found["beta"] == BETA
    assert list(found["dimensions"]) == [k for i, k in enumerate("ATEC") if there[:, 1 + i].any()]
    for k, row in found["dimensions"].items():
        column = 1 + "ATEC".index(k)
        pairs = there[:, column]
        margins = BETA * (ratios[:, 0] - ratios[:, column])[pairs]
        longer = np.sign(lengths[:, 0] - lengths[:, column])[pairs]
        assert row["pairs"] == pairs.sum()
        assert row["loss"] == pytest.approx(np.log1p(np.exp(-margins)).mean(), rel=1e-4)
        assert row["margin"] == pytest.approx(margins.mean(), abs=1e-4)
        assert row["accuracy"] == pytest.approx((margins > 0).mean())
        assert row["longer"] == pytest.approx((longer + 1).mean() / 2)


def test_the_first_model_has_moved_nowhere(root, scorer):
    found = policy_scores.score(scorer, root / "model")
    assert found["kl"] == pytest.approx(0.0, abs=1e-6)
    for row in found["dimensions"].values():
        assert row["loss"] == pytest.approx(np.log(2.0), abs=1e-5)


def test_a_score_says_what_it_was_scored_on(root, scorer):
    found = policy_scores.score(scorer, root / "policy")
    assert sorted(found["inputs"]) == [
        *("chat template", "compute dtype", "model config", "model weights"),
        *("test rows", "test tokens", "tokenizer"),
    ]
    assert json.loads(json.dumps(found)) == found


def test_a_policy_of_another_shape_is_refused(scorer, tmp_path):
    tiny_run.write_model(tmp_path / "other", intermediate_size=64)
    with pytest.raises(ConfigError, match="other is not of the shape of"):
        policy_scores.score(scorer, tmp_path / "other")


def test_a_policy_may_end_its_replies_with_other_tokens(root, scorer, tmp_path):
    """Exports do, where replies were trained to end with a token that the model does not name."""
    model = AutoModelForCausalLM.from_pretrained(root / "policy", dtype="float32")
    model.config.eos_token_id = [2, 3]
    model.save_pretrained(tmp_path / "policy")
    found = policy_scores.score(scorer, tmp_path / "policy")
    assert found["kl"] == policy_scores.score(scorer, root / "policy")["kl"]
