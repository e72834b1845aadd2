"""DPO on real pairs equals TRL's DPOTrainer and plain torch: pairs, metrics and gradients.

Policy is the embedded model with noise on its weights, reference the embedded model itself. TRL
computes each pair by itself; here pairs of equal prompt and chosen are joined into one row, whose
prompt and golden are computed once for all of them.
"""

import copy
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from transformers import AutoModelForCausalLM

from dignified_jax import data
from dignified_jax.data.schema.conversation import messages_of
from dignified_jax.embedded import resolve
from dignified_jax.models import hf, logprobs
from dignified_jax.objectives import MultiNegativeDPO, dpo
from dignified_jax.training.step.sharding import MeshConfig, make_mesh, put_batch
from dignified_jax.training.step.state import init_state
from dignified_jax.training.step.step_inputs import ResidentReference, StepInputs
from dignified_jax.training.step.train_step import make_train_step

pytestmark = pytest.mark.wiring

BETA = 0.1
# Log-probs are sums over some hundred tokens in float32, about 1e-4 of -600; rewards are a tenth.
TOLERANCE = 1e-4


BEFORE = (
    {"role": "system", "content": "Answer in a friend's voice."},
    {"role": "user", "content": "Hello, do you have a minute?"},
    {"role": "assistant", "content": "Of course. What is it?"},
)


def reply(text):
    return {"role": "assistant", "content": text}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """8 pairs, every dimension at least once, read in all forms and joined into 3 rows."""
    every = data.read_rows(resolve("embedded:personaknob_mini/test.jsonl"))
    records = []
    for number in (0, 1, 3):
        row = every[number]
        turn = {"role": "user", "content": row.prompt}
        for name, reject in row.rejects.items():
            prompt, replies = row.prompt, [row.golden, reject]
            if number == 1:
                prompt, replies = [*BEFORE, turn], [[reply(text)] for text in replies]
            if number == 3:
                prompt, replies = None, [[*BEFORE, turn, reply(text)] for text in replies]
            pair = dict(zip(("chosen", "rejected"), replies, strict=True))
            records.append({"prompt": prompt, "dimension": name, **pair})
    file = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    joined = data.read_rows(file, format="pairs")
    assert [row.golden for row in joined] == [every[i].golden for i in (0, 1, 3)]
    assert [row.rejects for row in joined] == [every[i].rejects for i in (0, 1, 3)]
    return joined


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
def exploded(rows, tiny_tokenizer):
    """A row of its own for each pair."""
    each = [
        dataclasses.replace(row, rejects={name: reject}, pairs={})
        for row in rows
        for name, reject in row.rejects.items()
    ]
    return data.pack(each, tiny_tokenizer, row_length=1024)


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
                [message._asdict() for message in messages_of(row.prompt)],
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


@pytest.fixture(scope="module")
def theirs(trainer, tmp_path_factory):
    """TRL's loss, metrics and gradient for all pairs as one batch."""
    trainer._metrics["eval"].clear()
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, trainer.data_collator(list(trainer.train_dataset)))
    loss.backward()
    found = {name: values[0] for name, values in trainer._metrics["eval"].items()}
    # torch's gradients as weights of a checkpoint, so that they come in our layout.
    model = copy.deepcopy(trainer.model)
    with torch.no_grad():
        for parameter, own in zip(model.parameters(), trainer.model.parameters(), strict=True):
            parameter.copy_(own.grad)
    directory = tmp_path_factory.mktemp("gradient")
    model.save_pretrained(directory)
    return loss.item(), found, hf.load(directory)[1]


@pytest.mark.parametrize("joined", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_train_step_equals_trl(joined, batch, exploded, directories, theirs):
    """All pairs as one batch: loss, metrics and gradient, with the mean over pairs as TRL's."""
    loss, found, gradient = theirs
    batch = batch if joined else exploded
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

    np.testing.assert_allclose(report["loss"], loss, atol=TOLERANCE)
    for name in ("chosen", "rejected", "margins", "accuracies"):
        np.testing.assert_allclose(
            report[f"rewards/{name}"], found[f"rewards/{name}"], atol=TOLERANCE, err_msg=name
        )
    for name in ("logps/chosen", "logps/rejected"):
        np.testing.assert_allclose(report[name], found[name], rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(report["grad_norm"], optax.tree.norm(gradient), rtol=TOLERANCE)
    for (path, one), two in zip(
        jax.tree.leaves_with_path(state.opt_state.trace), jax.tree.leaves(gradient), strict=True
    ):
        scale = np.abs(two).max()
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(one / scale, two / scale, atol=TOLERANCE, err_msg=name)
