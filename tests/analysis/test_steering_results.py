"""Success, coherence and files for lm-eval against numbers by hand and other programs."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from dignified_jax.analysis import coherence, correlation, lm_eval_file, responses, steering
from dignified_jax.analysis.commands.steer import models_file
from dignified_jax.analysis.lm_eval_file import ExportError
from dignified_jax.analysis.steering import Rate, Strength
from dignified_jax.analysis.steering_results import UNSTEERED, Condition, results
from dignified_jax.evaluation import models
from dignified_jax.models.checkpoint.vector_file import PersonaVector
from dignified_jax.models.residual import Cap, make_edits
from tests.analysis import planted

pytestmark = pytest.mark.wiring

VECTORS = np.random.default_rng(0).normal(size=(3, planted.LAYERS, planted.WIDTH))
VECTOR = PersonaVector("D", *VECTORS.astype(np.float32), 1)


def test_conditions_have_files_of_their_own_for_lm_eval():
    pairs = [
        *(("a b", "C"), ("a_b", "C"), ("a", "b C"), ("a", "b_C")),
        *(("org/a", "C"), ("org-a", "C"), ("a", "b/C"), ("a", "b-C")),
    ]
    names = [models_file(Condition(*pair, Strength(2.0))) for pair in pairs]
    assert len(set(names)) == len(names) and not any("/" in name for name in names)
    assert models_file(Condition("before", "A", Strength(2.0))) == "before_A_+2.pt"


def test_success_is_the_share_that_moved_as_steered():
    """Two judges, four prompts, one of them not judged by the second."""
    baseline = [np.array([0.0, 0.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0, 1.0])]
    scores = {
        2.0: [np.array([1.0, 1.0, 0.0, -1.0]), np.array([2.0, 2.0, 1.0, math.nan])],
        -2.0: [np.array([-1.0, 1.0, 0.0, 0.0]), np.array([0.0, 2.0, 1.0, 1.0])],
    }
    found = steering.success(scores, baseline)
    assert found[2.0].value == pytest.approx((1 + 1 + 0.5) / 3)
    assert found[-2.0].value == pytest.approx((1 + 0 + 0.5 + 0.5) / 4)
    assert found[-2.0].low < found[-2.0].value < found[-2.0].high
    apart = steering.both_ways(scores)
    assert set(apart) == {2.0} and apart[2.0].value == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert math.isnan(Rate.of([math.nan]).value)
    alone = Rate.of([0.7, math.nan])  # no interval, rather than one of no width
    assert alone.value == 0.7 and math.isnan(alone.low) and math.isnan(alone.high)


def test_strengths_are_edits_along_the_vector():
    edits = Strength(1.5).edits(planted.CONFIG, VECTOR, (0, 2))
    want = 1.5 * VECTOR.difference * np.array([1, 0, 1])[:, None]
    np.testing.assert_allclose(edits.added, want, rtol=1e-6)
    capped = Strength(low=-math.inf, high=2.0)
    edits = capped.edits(planted.CONFIG, VECTOR, (1,))
    np.testing.assert_allclose(edits.axes[1, 0], VECTOR.unit[1], rtol=1e-5)
    assert edits.high[1, 0] == 2 and edits.low[1, 0] == -math.inf and edits.high[0, 0] == math.inf
    assert [s.label for s in (Strength(1.5), Strength(-2.0), capped)] == ["+1.5", "-2", "[-inf, 2]"]


def test_repetition_counts_what_stood_before():
    assert coherence.repetition("a b c d e f") == 0
    assert coherence.repetition("a b c d " * 3) == pytest.approx(1 - 4 / 9)
    assert coherence.repetition("too short") == 0


@pytest.mark.slow
def test_perplexity_is_that_of_the_models_own_logits(tiny_directory):
    model = models.load("m", str(tiny_directory))
    pairs = [("Hi there.", "Hello!"), ("Why?", ""), ("What now?", "We wait, and then we go on.")]
    found = coherence.mean_nll(model, pairs)
    assert math.isnan(found[1])
    for number, example in enumerate(responses.tokenized(model, pairs)):
        if example is None:
            continue
        tokens = np.concatenate([example.prompt, example.responses[0]])[None]
        logits = torch.tensor(np.asarray(model.module.apply({"params": model.params}, tokens)))
        losses = torch.nn.functional.cross_entropy(
            logits[0, :-1], torch.tensor(tokens[0, 1:]).long(), reduction="none"
        )
        want = losses[-len(example.responses[0]) :].mean().item()
        assert found[number] == pytest.approx(want, rel=1e-4)


def test_files_for_lm_eval_hold_what_it_can_do(tmp_path):
    file = tmp_path / "steer.pt"
    held = Cap(2, VECTOR.difference[2], 0.5, 0.5)
    lm_eval_file.write(file, make_edits(planted.CONFIG, {1: VECTOR.difference[1]}, [held]))
    found = torch.load(file, weights_only=True)
    assert set(found) == {"layers.1", "layers.2"}
    add, clamp = found["layers.1"], found["layers.2"]
    assert (add["action"], clamp["action"]) == ("add", "clamp")
    np.testing.assert_allclose(add["steering_vector"], VECTOR.difference[1])
    np.testing.assert_allclose(clamp["steering_vector"], VECTOR.unit[2], rtol=1e-5)
    assert clamp["steering_coefficient"] == 0.5
    one_sided = make_edits(planted.CONFIG, caps=[Cap(2, VECTOR.difference[2], high=1.0)])
    with pytest.raises(ExportError, match="layer 2: lm-eval holds a projection at one value"):
        lm_eval_file.write(file, one_sided)
    both = make_edits(planted.CONFIG, {2: VECTOR.difference[1]}, [held])
    with pytest.raises(ExportError, match="layer 2: lm-eval has one edit a layer"):
        lm_eval_file.write(file, both)
    some = dataclasses.replace(both, where=jnp.ones((1, 2), bool))
    with pytest.raises(ExportError, match="lm-eval steers all tokens"):
        lm_eval_file.write(file, some)


@pytest.mark.slow
def test_lm_evals_steered_model_computes_what_we_do(tiny_directory, tmp_path):
    """Logits to 1e-4 of the largest, in float32, with a vector added and one held."""
    hf_steered = pytest.importorskip("lm_eval.models.hf_steered")
    model = models.load("m", str(tiny_directory))
    config = model.module.config
    rng = np.random.default_rng(3)
    added, axis = rng.normal(size=(2, config.hidden_size)).astype(np.float32)
    edits = make_edits(config, {1: 5 * added}, [Cap(3, axis, 2.0, 2.0)])
    lm_eval_file.write(tmp_path / "steer.pt", edits)
    reference = hf_steered.SteeredModel(
        str(tiny_directory), str(tmp_path / "steer.pt"), device="cpu", dtype="float32"
    )
    tokens = rng.integers(5, 200, (2, 12))
    want = reference.forward(torch.tensor(tokens)).logits.numpy()
    got = model.module.apply({"params": model.params}, tokens, edits=edits)
    plain = model.module.apply({"params": model.params}, tokens)
    scale = np.abs(want).max()
    assert np.abs(np.asarray(got) - want).max() < 1e-4 * scale < np.abs(plain - want).max()


def test_pearson_is_numpys_where_it_is_defined():
    values = np.random.default_rng(1).normal(size=(3, 9))
    np.testing.assert_allclose(correlation.pearson(values), np.corrcoef(values), rtol=1e-9)
    values[1, 2], values[2] = math.inf, 4.0
    found = correlation.pearson(values)
    known = np.isfinite(values[1])
    assert found[0, 1] == pytest.approx(np.corrcoef(values[:2, known])[0, 1])
    assert np.isnan(found[2]).all()


def test_a_perplexity_beyond_all_numbers_is_unknown():
    plain = Condition("m", "", UNSTEERED)
    found = results(
        ["m"], [], {plain: {"a": "x", "b": "y"}}, {plain: np.array([800.0] * 2)}, {plain: {}}
    )
    assert found["m"]["unsteered"]["perplexity"] == [None] * 3
