"""DPO on real rows equals TRL's DPOTrainer and plain torch: pairs, metrics and gradients.

Policy is the embedded model with noise on its weights, reference the embedded model itself. Each
reject of a row makes one pair for TRL; here prompt and golden are computed once for all of them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from transformers import AutoModelForCausalLM

from dignified_jax import data
from dignified_jax.embedded import resolve
from dignified_jax.models import hf, logprobs
from dignified_jax.objectives import MultiNegativeDPO, dpo
from dignified_jax.training.step.sharding import MeshConfig, make_mesh, put_batch
from dignified_jax.training.step.state import init_state
from dignified_jax.training.step.step_inputs import ResidentReference, StepInputs
from dignified_jax.training.step.train_step import make_train_step

BETA = 0.1
# Log-probs are sums over some hundred tokens in float32, about 1e-4 of -600; rewards are a tenth.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def rows():
    """8 pairs, every dimension at least once, four of them of one row."""
    every = data.read_rows(resolve("embedded:personaknob_mini/test.jsonl"))
    return [every[i] for i in (0, 1, 3)]


@pytest.fixture(scope="module")
def directories(tiny_directory, tmp_path_factory):
    """(policy, reference) as Hugging Face directories, both float32."""
    model = AutoModelForCausalLM.from_pretrained(tiny_directory, dtype=torch.float32)
    reference, policy = (tmp_path_factory.mktemp(name) for name in ("reference", "policy"))
    model.save_pretrained(reference)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * parameter.std() * torch.randn_like(parameter))
    model.save_pretrained(policy)
    return policy, reference


@pytest.fixture(scope="module")
def batch(rows, tiny_tokenizer):
    return data.pack(rows, tiny_tokenizer, row_length=1024)


@pytest.fixture(scope="module")
def ours(batch, directories):
    """(policy, reference) log-probs, both (example, 5), from packed rows."""
    model, policy = hf.load(directories[0])
    reference = hf.load(directories[1])[1]
    score = jax.jit(lambda params: logprobs.response_log_probs(model, params, batch))
    return np.asarray(score(policy)), np.asarray(score(reference))


@pytest.fixture(scope="module")
def trainer(rows, directories, tiny_tokenizer, tmp_path_factory):
    """TRL's, which never trains; one example a pair, in the order of `pairs`."""
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl")
    policy, reference = (AutoModelForCausalLM.from_pretrained(d) for d in directories)
    end = "<|im_end|>"
    examples = [
        {
            "prompt": tiny_tokenizer.apply_chat_template(
                [{"role": "user", "content": row.prompt}],
                add_generation_prompt=True,
                tokenize=False,
            ),
            "chosen": row.golden + end,
            "rejected": row.rejects[dimension] + end,
        }
        for row in rows
        for dimension in row.mask
    ]
    arguments = trl.DPOConfig(
        output_dir=str(tmp_path_factory.mktemp("trl")),
        beta=BETA,
        max_length=None,
        bf16=False,
        use_cpu=True,
        report_to="none",
        remove_unused_columns=False,
    )
    made = trl.DPOTrainer(
        model=policy,
        ref_model=reference,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(examples),
        processing_class=tiny_tokenizer,
    )
    made.model.eval()
    return made


def pairs(batch):
    """(pair,) numbers of the example and of the dimension, example by example."""
    return np.nonzero(np.asarray(dpo.pair_mask(jnp.asarray(batch.response_mask))))


def test_token_ids_agree(rows, trainer, tiny_tokenizer):
    examples, _ = data.encode(rows, tiny_tokenizer)
    expected = [
        [example.prompt.tolist(), example.responses[0].tolist(), reject.tolist()]
        for example in examples
        for reject in example.responses[1:]
        if reject is not None
    ]
    assert len(expected) >= 8
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    assert [[row[name] for name in names] for row in trainer.train_dataset] == expected


def test_every_pair_equals_trl(ours, batch, trainer):
    policy, reference = ours
    rewards = BETA * (policy - reference)
    losses = np.asarray(
        dpo.pair_losses(*map(jnp.asarray, (policy - reference, batch.response_mask)), BETA)
    )
    examples, dimensions = pairs(batch)
    assert np.std(losses[examples, dimensions]) > 100 * TOLERANCE  # else any loss would do
    for row, example, dimension in zip(trainer.train_dataset, examples, dimensions, strict=True):
        trainer._metrics["eval"].clear()
        with torch.no_grad():
            loss = trainer.compute_loss(trainer.model, trainer.data_collator([row])).item()
        found = {name: values[0] for name, values in trainer._metrics["eval"].items()}
        expected = {
            "rewards/chosen": rewards[example, 0],
            "rewards/rejected": rewards[example, dimension + 1],
            "rewards/margins": rewards[example, 0] - rewards[example, dimension + 1],
        }
        np.testing.assert_allclose(losses[example, dimension], loss, atol=TOLERANCE)
        for name, value in expected.items():
            np.testing.assert_allclose(value, found[name], atol=TOLERANCE, err_msg=name)
        np.testing.assert_allclose(policy[example, 0], found["logps/chosen"], rtol=1e-5)
        np.testing.assert_allclose(
            policy[example, dimension + 1], found["logps/rejected"], rtol=1e-5
        )


def test_every_pair_equals_plain_torch(ours, batch, rows, directories, tiny_tokenizer):
    """Unpacked, unpadded, in float64."""
    models = [AutoModelForCausalLM.from_pretrained(d, dtype=torch.float64) for d in directories]
    examples, _ = data.encode(rows, tiny_tokenizer)

    def log_ratio(prompt, response):
        ids = torch.as_tensor(np.concatenate([prompt, response])).long()[None]
        with torch.no_grad():
            policy, reference = (torch.log_softmax(model(ids).logits, -1) for model in models)
        at = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
        return (policy - reference)[0, at, ids[0, len(prompt) :]].sum()

    losses = np.asarray(
        dpo.pair_losses(*map(jnp.asarray, (ours[0] - ours[1], batch.response_mask)), BETA)
    )
    for number, example in enumerate(examples):
        ratios = [r if r is None else log_ratio(example.prompt, r) for r in example.responses]
        for dimension, rejected in enumerate(ratios[1:]):
            if rejected is not None:
                loss = -torch.nn.functional.logsigmoid(BETA * (ratios[0] - rejected))
                np.testing.assert_allclose(losses[number, dimension], loss.item(), atol=TOLERANCE)


def test_train_step_equals_trl(batch, directories, trainer, tmp_path):
    """All pairs as one batch: loss, metrics and gradient, with the mean over pairs as TRL's."""
    trainer._metrics["eval"].clear()
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, trainer.data_collator(list(trainer.train_dataset)))
    loss.backward()
    found = {name: values[0] for name, values in trainer._metrics["eval"].items()}

    mesh = make_mesh(MeshConfig(1, 1), jax.devices()[:1])
    model, params = hf.load(directories[0], mesh=mesh)
    reference = hf.load(directories[1], mesh=mesh)[1]
    method = MultiNegativeDPO(beta=BETA, average="pair")
    keep = optax.trace(decay=0.0)  # its state is the gradient
    state = init_state(params, method, 4, keep, mesh)
    step = make_train_step(model, method, keep, mesh)
    used = np.int32(len(batch.tokens))
    put = put_batch(batch, mesh, rows_per_step=1)
    state, report = step(state, StepInputs(put, used, reference=ResidentReference(reference)))

    np.testing.assert_allclose(report["loss"], loss.item(), atol=TOLERANCE)
    for name in ("chosen", "rejected", "margins", "accuracies"):
        np.testing.assert_allclose(
            report[f"rewards/{name}"], found[f"rewards/{name}"], atol=TOLERANCE, err_msg=name
        )
    for name in ("logps/chosen", "logps/rejected"):
        np.testing.assert_allclose(report[name], found[name], rtol=1e-5, err_msg=name)

    # torch's gradients as weights of a checkpoint, so that they come in our layout.
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.copy_(parameter.grad)
    trainer.model.save_pretrained(tmp_path)
    theirs = hf.load(tmp_path)[1]
    np.testing.assert_allclose(report["grad_norm"], optax.tree.norm(theirs), rtol=TOLERANCE)
    for (path, one), two in zip(
        jax.tree.leaves_with_path(state.opt_state.trace), jax.tree.leaves(theirs), strict=True
    ):
        scale = np.abs(two).max()
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(one / scale, two / scale, atol=TOLERANCE, err_msg=name)
