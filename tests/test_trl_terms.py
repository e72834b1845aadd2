"""The terms shared by DPO-like methods equal TRL's own loss on the same numbers, with gradients.

TRL's `DPOTrainer._compute_loss` runs on a model that gives random token log-probs. Rows of several
rejects are joined here and one pair each for TRL. Losses and gradients agree to 1e-6: float32.
"""

import collections
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from dignified_jax.objectives import MODPO, LagDPO, MultiNegativeDPO, PCGradDPO, ScoredBatch
from dignified_jax.objectives import golden as golden_term

pytestmark = pytest.mark.wiring

BETA = 0.4
SMOOTHING = 0.15
PROMPT = 3
MASK = np.array([[1, 1, 1, 0, 1], [1, 0, 1, 0, 0], [1, 1, 1, 1, 0]], bool)
LENGTHS = np.where(MASK, np.random.default_rng(0).integers(1, 8, MASK.shape), 0)
PAIRS = [(int(i), int(k) + 1) for i, k in np.argwhere(MASK[:, 1:])]


def token_log_probs(seed):
    """One array of token log-probs for each response that exists."""
    rng = np.random.default_rng(seed)
    return {
        tuple(at): -rng.exponential(2.0, LENGTHS[tuple(at)]).astype(np.float32)
        for at in np.argwhere(MASK)
    }


POLICY, REFERENCE = token_log_probs(1), token_log_probs(2)


class Model(torch.nn.Module):
    """Gives the tokens' log-probs, those of chosen replies first, with whatever TRL logs."""

    def __init__(self, tokens, pairs):
        super().__init__()
        replies = [(i, 0) for i, _ in pairs] + [(i, k) for i, k in pairs]
        width = PROMPT + LENGTHS.max()
        rows = torch.zeros(len(replies), width - 1)
        for row, reply in zip(rows, replies, strict=True):
            row[PROMPT - 1 : PROMPT - 1 + LENGTHS[reply]] = torch.from_numpy(tokens[reply])
        self.log_probs = rows.requires_grad_()
        self.mask = torch.zeros(len(replies), width, dtype=torch.long)
        for row, reply in zip(self.mask, replies, strict=True):
            row[PROMPT : PROMPT + LENGTHS[reply]] = 1

    def forward(self, **_):
        rest = torch.zeros_like(self.log_probs)
        return types.SimpleNamespace(
            log_probs=self.log_probs, entropy=rest, mean_logits=rest, is_top1=rest.bool()
        )


def trl_loss(pairs, loss_type, loss_weights=(1.0,)):
    """(loss, gradient of each reply's log-prob (example, response)) of TRL on some pairs."""
    trl = pytest.importorskip("trl")
    policy = Model(POLICY, pairs)
    chosen, rejected = Model(REFERENCE, pairs).log_probs.detach().sum(dim=1).chunk(2)
    same = types.SimpleNamespace(
        device="cpu", gather_for_metrics=lambda value: value, gather=lambda value: value
    )
    trainer = types.SimpleNamespace(
        model=policy,
        accelerator=same,
        aux_loss_enabled=False,
        beta=BETA,
        f_divergence_type="reverse_kl",
        label_smoothing=SMOOTHING,
        ld_alpha=None,
        loss_types=loss_type,
        loss_weights=loss_weights,
        precompute_ref_logps=True,
        use_weighting=False,
        _metrics=collections.defaultdict(lambda: collections.defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
    )
    ids = torch.ones_like(policy.mask)
    inputs = {"input_ids": ids, "attention_mask": ids, "completion_mask": policy.mask}
    inputs |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    loss = trl.DPOTrainer._compute_loss(trainer, policy, inputs, False)
    loss.backward()
    gradient = np.zeros(MASK.shape)
    first = policy.log_probs.grad[:, PROMPT - 1].numpy()  # of a reply's tokens all are alike
    for number, (i, k) in enumerate(pairs):
        gradient[i, 0] += first[number]
        gradient[i, k] += first[number + len(pairs)]
    return loss.item(), gradient


def summed(tokens):
    sums = np.zeros(MASK.shape, np.float32)
    for at, values in tokens.items():
        sums[at] = values.sum()
    return jnp.asarray(sums)


def our_loss(method, mask):
    """(loss, gradient of each reply's log-prob) of a method on the responses of a mask."""
    mask, lengths = jnp.asarray(mask), jnp.asarray(LENGTHS)
    counts = method.batch_counts(mask, lengths)

    def total(log_probs):
        batch = ScoredBatch(log_probs - summed(REFERENCE), mask, lengths)
        loss, _ = method.loss(batch, counts, method.init(4))
        return golden_term.add(loss, method, log_probs, mask, lengths)

    return jax.value_and_grad(total)(summed(POLICY))


# Conservative smoothing is in TRL's "aot", which is "sigmoid" where there is but one pair.
CASES = {
    "plain": ({}, ["sigmoid"]),
    "length-normalized": ({"length_normalized": True}, ["sigmoid_norm"]),
    "smoothed": ({"label_smoothing": SMOOTHING}, ["aot"]),
    "robust": ({"label_smoothing": SMOOTHING, "robust": True}, ["robust"]),
}


@pytest.mark.parametrize("case", CASES)
def test_every_pair_equals_trl(case):
    fields, loss_type = CASES[case]
    method = MultiNegativeDPO(beta=BETA, average="pair", **fields)
    losses = []
    for i, k in PAIRS:
        alone = np.zeros_like(MASK)
        alone[i, [0, k]] = True
        loss, gradient = our_loss(method, alone)
        expected, their_gradient = trl_loss([(i, k)], loss_type)
        np.testing.assert_allclose(loss, expected, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(gradient, their_gradient, atol=1e-6)
        losses.append(float(loss))
    plain = [float(our_loss(MultiNegativeDPO(beta=BETA), MASK)[0])]
    assert case == "plain" or np.abs(np.mean(losses) - plain).max() > 1e-2


@pytest.mark.parametrize("weight", [0.5, 2.0])
@pytest.mark.parametrize("case", ["plain", "length-normalized", "robust"])
def test_a_batch_with_the_goldens_nll_equals_trl(case, weight):
    """The mean over tokens of the batch; a golden of three rejects counts three times."""
    fields, loss_type = CASES[case]
    method = MultiNegativeDPO(beta=BETA, average="pair", golden_nll=weight, **fields)
    loss, gradient = our_loss(method, MASK)
    expected, their_gradient = trl_loss(PAIRS, [*loss_type, "sft"], (1.0, weight))
    np.testing.assert_allclose(loss, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(gradient, their_gradient, atol=1e-6)
    assert abs(gradient[0, 0] - our_loss(MultiNegativeDPO(beta=BETA), MASK)[1][0, 0]) > 1e-2


@pytest.mark.parametrize("kind", [LagDPO, PCGradDPO, MODPO])
def test_every_method_adds_the_same_nll(kind):
    rewards = jnp.zeros((*MASK.shape, 4))
    lengths, policy = jnp.asarray(LENGTHS), summed(POLICY)
    batch = ScoredBatch(policy - summed(REFERENCE), jnp.asarray(MASK), lengths, rewards)
    for weight in (0.5, 2.0):
        method = kind(golden_nll=weight)
        counts = method.batch_counts(batch.mask, lengths)
        loss, _ = method.loss(batch, counts, method.init(4))
        added = golden_term.add(loss, method, policy, batch.mask, lengths) - loss
        nll, _ = trl_loss(PAIRS, ["sft"])
        np.testing.assert_allclose(added, weight * nll, rtol=1e-5)
