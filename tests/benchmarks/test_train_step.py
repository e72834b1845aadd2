"""The benchmark of the train step: its layouts compute the same, and it times what it says."""

import dataclasses
import functools
import multiprocessing
import types

import jax
import numpy as np
import optax
import pytest

from benchmarks import (
    train_step,
    train_step_candidates,
    train_step_jax,
    train_step_layouts,
    train_step_report,
    train_step_sweep,
)
from benchmarks import train_step_examples as examples_of
from benchmarks.train_step_models import make_tokenizer, text, write_checkpoint
from benchmarks.train_step_report import Candidate, Result, Useful
from benchmarks.train_step_worker import READY, Job, Worker
from dignified_jax.models import hf
from dignified_jax.models.hf.config import read_config
from dignified_jax.objectives import LagDPO
from dignified_jax.training.step import sharding
from dignified_jax.training.step.state import init_state
from dignified_jax.training.step.step_inputs import ResidentReference, StepInputs
from dignified_jax.training.step.train_step import make_train_step
from tests.oracles import hf_models, sequences

pytestmark = pytest.mark.wiring

VOCABULARY = 512  # of the tiny model


def lengths(examples):
    """(prompt lengths, (example, response) lengths)."""
    return np.array([len(e.prompt) for e in examples]), np.array(
        [e.response_lengths for e in examples]
    )


def test_examples_have_the_stated_lengths_and_ids():
    """2,000 prompts: five standard errors of mean and sigma are 5% and 0.032; 10,000 responses."""
    examples = examples_of.make_examples(2000, VOCABULARY, 0)
    for found, mean in zip(lengths(examples), (240, 290), strict=True):
        np.testing.assert_allclose(found.mean(), mean, rtol=0.05)
        np.testing.assert_allclose(np.log(found).std(), 0.4, atol=0.032)
    for example in examples[:50]:
        assert example.prompt.min() >= examples_of.FIRST_WORD
        for response in example.responses:
            assert response[-1] == examples_of.END
            assert response[:-1].min() >= examples_of.FIRST_WORD
            assert response.max() < VOCABULARY


def test_examples_depend_on_the_seed_alone_and_lose_rejects():
    first, again, other = (examples_of.make_examples(3, VOCABULARY, seed) for seed in (0, 0, 1))
    assert all((a.prompt == b.prompt).all() for a, b in zip(first, again, strict=True))
    assert lengths(first)[0].tolist() != lengths(other)[0].tolist()
    two = examples_of.make_examples(3, VOCABULARY, 0, rejects=2)
    assert [[r is not None for r in e.responses] for e in two] == [[True] * 3 + [False] * 2] * 3


def test_every_pair_is_exploded_once():
    examples = sequences.random_examples(5, 0)
    pairs = examples_of.explode(examples)
    expected = [(e.index, r) for e in examples for r in range(1, 5) if e.responses[r] is not None]
    found = [
        (pair.index, *(r for r in range(1, 5) if pair.responses[r] is not None)) for pair in pairs
    ]
    assert found == expected
    assert all(pair.responses[0] is not None for pair in pairs)


def test_grouped_batches_hold_everything_and_pad_less():
    found = lengths(examples_of.make_examples(128, VOCABULARY, 0))[0]
    grouped = examples_of.grouped_batches(found.tolist(), 8, 0)
    random = examples_of.random_batches(128, 8, 0)
    padded = [sum(max(found[i] for i in batch) for batch in b) for b in (grouped, random)]
    assert padded[0] < 0.8 * padded[1]
    for batches in (grouped, random):
        assert sorted(i for batch in batches for i in batch) == list(range(128))


def test_the_typical_batch_is_nearest_to_the_mean():
    """Sizes 1, 5, 30: mean 12."""
    assert examples_of.typical([[1], [5], [30]], lambda batch: batch[0]) == [5]


def test_row_length_wastes_least():
    """Examples of 100 and 150 tokens: in rows of 256 each pair fits one row with 6 to spare."""
    batches = [[0, 1], [2, 3]]
    assert examples_of.choose_row_length([100, 150] * 2, batches, 1024) == 256
    assert examples_of.choose_row_length([120, 128] * 2, [[0], [1]], 1024) == 128
    with pytest.raises(ValueError, match="row length: expected at least 256, found at most 128"):
        examples_of.choose_row_length([129], [[0]], 128)


def test_the_tokenizer_gives_back_the_ids_also_of_joined_texts():
    tokenizer = make_tokenizer(VOCABULARY)
    example = examples_of.make_examples(1, VOCABULARY, 3)[0]
    joined = text(example.prompt) + text(example.responses[0])
    expected = [*example.prompt.tolist(), *example.responses[0].tolist()]
    assert tokenizer(text=joined)["input_ids"] == expected
    assert joined.endswith(tokenizer.eos_token)


@pytest.fixture(scope="module")
def gradients(tmp_path_factory):
    """Of a layout, when it is asked for: (loss, per-dimension losses, gradient) of one Lag-DPO step
    on 5 examples."""
    trees = []
    for seed in (0, 1):
        directory = tmp_path_factory.mktemp("model")
        hf_models.build("llama3", seed=seed, num_hidden_layers=1).save_pretrained(directory)
        trees.append(hf.load(directory))
    (model, policy), (_, reference) = trees
    model = model.clone(remat="none")
    examples = sequences.random_examples(5, 0, prompt=12, response=9)
    pairs = examples_of.explode(examples)
    batches = {
        "trees": (train_step_layouts.trees(examples, row_length=64), 1),
        "separate": (train_step_layouts.separate(examples), None),
        "pairs": (train_step_layouts.separate(pairs), None),
    }
    mesh = sharding.make_mesh(sharding.MeshConfig(), jax.devices()[:1])
    method = LagDPO(beta=0.2, lambda_init=(0.3, 0.0, 0.1, 2.0))
    keep = optax.trace(decay=0.0)  # its state is the gradient
    step = make_train_step(model, method, keep, mesh)

    @functools.cache
    def of(layout):
        batch, rows = batches[layout]
        state = init_state(jax.tree.map(np.array, policy), method, 4, keep, mesh)
        put = sharding.put_batch(batch, mesh, rows or len(batch.tokens))
        used = np.int32(train_step_layouts.used_rows(batch) if rows else 1)
        state, report = step(state, StepInputs(put, used, ResidentReference(reference)))
        found = (report["loss"], report["per_dimension/loss"], state.opt_state.trace)
        return jax.tree.map(np.asarray, found)

    assert len(batches["trees"][0].tokens) > 1  # accumulated
    return of


@pytest.mark.parametrize("layout", [pytest.param("separate", marks=pytest.mark.slow), "pairs"])
def test_layouts_have_the_same_loss_and_gradient(layout, gradients):
    """Losses 1e-6, gradients 1e-5 of each parameter's largest entry."""
    loss, losses, gradient = gradients("trees")
    found = gradients(layout)
    np.testing.assert_allclose(found[0], loss, rtol=1e-6)
    np.testing.assert_allclose(found[1], losses, rtol=1e-6)
    assert np.std(losses) > 1e-2  # four different ones
    for got, want in zip(jax.tree.leaves(found[2]), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max(), rtol=0)
        assert np.abs(want).max() > 1e-4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tiny")
    write_checkpoint("tiny", directory, "float32")
    return str(directory)


def arguments(*flags):
    return train_step._parse(["--pool", "32", *flags])


def served(job, turns=2):
    """What the process of a job would send in `turns` turns of two steps."""
    ours, theirs = multiprocessing.Pipe()
    for request in [2] * turns + [None]:
        ours.send(request)
    job.serve(theirs, job)
    assert ours.recv() == READY
    return [ours.recv() for _ in range(turns)]


def short(job):
    """The job on the same examples cut short."""
    cut = [
        dataclasses.replace(
            example,
            prompt=example.prompt[:20],
            responses=tuple(None if ids is None else ids[-15:] for ids in example.responses),
        )
        for example in job.examples
    ]
    return dataclasses.replace(job, examples=cut)


@pytest.mark.parametrize("flags", [(), pytest.param(("--lora-rank", "4"), marks=pytest.mark.slow)])
def test_trl_and_ours_compute_the_same(flags, checkpoint):
    """Reference log-probs of the same 8 pairs, some -90 nats each: 1e-5 relative."""
    pytest.importorskip("trl")
    chosen = arguments("--candidates", "trl", "pairs", *flags)
    made = train_step_candidates.candidates(chosen, checkpoint)
    trl, ours = (served(short(candidate.job)) for candidate in made)
    assert len(trl[0].log_probs) == 16
    assert trl[0].log_probs.std() > 0.5
    np.testing.assert_allclose(trl[0].log_probs, ours[0].log_probs, rtol=1e-5)
    for timings in (*trl, *ours):
        assert len(timings.step) == len(timings.reference) == 2
        assert min(timings.step) > 0 and min(timings.reference) > 0
        assert timings.peak_bytes > 2**26


def test_trl_and_ours_train_equally_many_parameters_under_lora(checkpoint, tmp_path):
    train_step_trl = pytest.importorskip("benchmarks.train_step_trl", reason="needs TRL")
    chosen = arguments("--candidates", "trl", "--lora-rank", "4")
    job = short(train_step_candidates.candidates(chosen, checkpoint)[0].job)
    theirs = train_step_trl.make_trainer(job, str(tmp_path)).model
    trained = sum(weights.numel() for weights in theirs.parameters() if weights.requires_grad)
    rows = dataclasses.replace(job, build=train_step_layouts.separate)
    state = train_step_jax.Runner(rows)._start()[1]
    assert trained == sum(leaf.size for leaf in jax.tree.leaves(state.params))


def test_the_step_of_the_gpu_computes_in_bfloat16(checkpoint):
    """Compiled for this machine; float32 parameters, gradients and moments all the same."""
    made = train_step_candidates.candidates(arguments("--candidates", "rows"), checkpoint)
    job = dataclasses.replace(short(made[0].job), gpu=True, remat=True)
    step = train_step_jax.Runner(job)._step
    assert "bf16[" in step.as_text()
    state = step.args_info[0][0]
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {"float32", "int32"}


def test_candidates_share_their_examples(checkpoint):
    """Four pairs are one example; ours computes fewest tokens, grouped rows fewer than random."""
    made = train_step_candidates.candidates(
        arguments("--candidates", "ours", "rows", "rows-grouped", "pairs", "pairs-grouped"),
        checkpoint,
    )
    assert [candidate.examples for candidate in made] == [8, 2, 2, 2, 2]
    ours, rows, rows_grouped, pairs, pairs_grouped = (c.computed_per_example for c in made)
    assert ours < rows_grouped < rows < pairs
    assert rows_grouped < pairs_grouped < pairs
    for candidate in made:
        job = candidate.job
        batch = job.build(job.examples)
        used = train_step_layouts.used_rows(batch)
        assert used * batch.tokens.shape[1] == candidate.computed
        count = len(job.examples) / (4 if len(job.examples) == 8 and used == 16 else 1)
        assert count == candidate.examples


def test_the_table_scales_to_all_batches_and_compares_with_the_first():
    """A batch of 100 tokens in 2 s, 50 an example on the average: 1 s an example; by hand."""
    job = types.SimpleNamespace(examples=[], remat="none")
    made = [Candidate("first", job, 100, 50.0, 2), Candidate("second", job, 100, 200.0, 2)]
    results = [
        Result(2.0, 1.0, 2**30, "NVIDIA H200", np.ones(2)),
        Result(2.0, 0.5, 2**31, "NVIDIA H200", np.ones(2)),
    ]
    useful = Useful(tokens=40.0, flops=989.4e12 / 4)
    lines = train_step_report.table(made, results, useful, "bfloat16").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[2][1:] == [
        *("2", "2", "50", "1", "1.00x", "0.667", "1.00x", "40", "2.47e+05", "25.0%", "1.00")
    ]
    assert cells[3][1:] == [
        *("2", "2", "200", "0.25", "4.00x", "0.2", "3.33x", "10", "6.18e+04", "6.2%", "2.00")
    ]
    failed = train_step_report.table(made, [results[0], None], useful, "bfloat16")
    assert "| second | failed: see above |" in failed


def test_useful_flops_do_not_count_padding(checkpoint):
    """Six a parameter of the layers and token, six a parameter of the head and response token."""
    config = read_config(checkpoint)
    examples = examples_of.make_examples(4, VOCABULARY, 0)
    useful = Useful.of(config, examples)
    prompts, responses = lengths(examples)
    np.testing.assert_allclose(useful.tokens, (prompts.sum() + responses.sum()) / 4)
    width, hidden = config.head_dim, config.hidden_size
    layer = hidden * width * 2 * (config.num_heads + config.num_kv_heads)
    layer += 3 * hidden * config.intermediate_size
    products = 6 * useful.tokens * config.num_layers * layer
    products += 6 * responses.sum() / 4 * hidden * config.vocab_size
    pairs = (prompts * (prompts + 1) / 2).sum()
    pairs += (responses * prompts[:, None] + responses * (responses + 1) / 2).sum()
    products += 12 * pairs / 4 * config.num_heads * width * config.num_layers
    np.testing.assert_allclose(useful.flops, products, rtol=1e-12)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--pairs", "6"], "multiple of 4"),
        (["--steps", "-1"], "--steps"),
        (["--steps", "0"], "--steps"),
        (["--pool", "4"], "--pool"),
        (["--sweep", "--pairs", "4"], "--sweep"),
    ],
)
def test_impossible_arguments_are_refused(flags, named, capsys):
    with pytest.raises(SystemExit):
        train_step._parse(flags)
    assert named in capsys.readouterr().err


def test_a_sweep_reports_exponents_and_draws(tmp_path, monkeypatch):
    """Seconds grow with computed tokens to the power 1.5, whatever is varied."""

    def measure(sweep, arguments, checkpoint):
        assert len({examples[0].length for examples in sweep.examples}) in (1, 4)
        tokens = [1000 * (1 + number) for number in range(len(sweep.values))]
        return [
            train_step_sweep.Point(value, count, 3e-4 * count**1.5)
            for value, count in zip(sweep.values, tokens, strict=True)
        ]

    monkeypatch.setattr(train_step_sweep, "measure", measure)
    text = train_step_sweep.run(arguments("--figures", str(tmp_path)), "unused")
    assert text.count("to the power 1.50") == 3
    assert text.count("| rejects a prompt |") == text.count("| examples a batch |") == 4
    assert (tmp_path / "train_step_tiny.png").stat().st_size > 10_000


def test_a_worker_that_dies_says_how(capfd):
    """`len` takes one argument, not the two that a worker gives."""
    worker = Worker(Job(len, "", [], gpu=False, remat=False, warmup=0))
    worker.wait()
    assert worker.measure(1) is None
    assert worker.death() == "died with exit code 1"
    assert "TypeError" in capfd.readouterr().err
