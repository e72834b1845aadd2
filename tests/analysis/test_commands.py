"""`analyze steer`, `drift`, `correlate` from their flags to their files, on the embedded model."""

import itertools
import json

import numpy as np
import pytest
import torch

from dignified_jax import analyze
from dignified_jax.analysis import correlation
from dignified_jax.models import hf
from dignified_jax.models.checkpoint import vector_file
from dignified_jax.models.checkpoint.vector_file import PersonaVector
from tests.analysis.test_contrasts import write

pytestmark = pytest.mark.wiring
MODEL = "embedded:tiny-qwen3"


@pytest.fixture(scope="module")
def vectors(tmp_path_factory, tiny_directory):
    """A file of two vectors, of layers 1 and 2."""
    config = hf.load(tiny_directory)[0].config
    shape = (2, 3, config.num_layers, config.hidden_size)
    made = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    file = tmp_path_factory.mktemp("vectors") / "vectors.safetensors"
    found = [PersonaVector(name, *made[n], n + 1) for n, name in enumerate("AE")]
    vector_file.write(file, found, {"states": "response"})
    return file


def run(*words):
    return analyze.main([str(word) for word in words])


@pytest.mark.slow
def test_steer_writes_curves_and_files_for_lm_eval(vectors, tmp_path, capsys):
    given = [
        *("steer", "--model", f"tiny={MODEL}", "--vectors", vectors, "--workdir", tmp_path),
        *("--alphas=-2,2", "--cap=-inf,1", "--dimensions", "A", "--most_prompts", 3),
        *("--max_new_tokens", 6, "--layers", "1,2"),
    ]
    assert run(*given) == 0
    out = capsys.readouterr().out
    assert "tiny A [-inf, 1]: no file for lm-eval" in out
    told = json.loads((tmp_path / "steering.json").read_text())
    listed = told["models"]["tiny"]["dimensions"]["A"]
    assert [each["strength"] for each in listed] == ["-2", "+2", "[-inf, 1]"]
    for each in listed[:2]:
        assert 0 <= each["success"][1] <= each["success"][0] <= each["success"][2] <= 1
        assert set(each["change"]) == {"A", "T", "E", "C"}
    assert listed[2]["success"] is None and listed[1]["above_opposite"] is not None
    assert {f.name for f in tmp_path.glob("*.png")} == {
        "success.png",
        "perplexity.png",
        "repetition.png",
        "scores.png",
    }
    hooks = torch.load(tmp_path / "lm_eval" / "tiny_A_+2.pt", weights_only=True)
    want = vector_file.read(vectors).vectors["A"].difference[2]
    np.testing.assert_allclose(hooks["layers.2"]["steering_vector"], 2 * want)
    assert set(hooks) == {"layers.1", "layers.2"}
    assert run(*given) == 0
    assert "responses to generate" not in capsys.readouterr().out


@pytest.mark.slow
def test_drift_of_a_model_from_itself_is_none(vectors, tmp_path, capsys):
    given = ["drift", "--base", MODEL, "--model", f"same={MODEL}", "--vectors", vectors]
    assert run(*given, "--workdir", tmp_path, "--most_prompts", 9) == 0
    assert "Mean shift along the vectors" in capsys.readouterr().out
    own = json.loads((tmp_path / "drift.json").read_text())["models"]["same"]
    np.testing.assert_allclose(own["cosine"]["value"], 1, atol=1e-6)
    np.testing.assert_allclose(own["cka"]["value"], 1, atol=1e-6)
    np.testing.assert_allclose(own["shifts"]["A"]["value"], 0, atol=1e-6)
    assert own["texts"] == 9 and own["shift_correlation"] == [[None, None], [None, None]]
    assert {f.name for f in tmp_path.glob("*.png")} == {
        "drift.png",
        "shifts.png",
        "shift_correlation.png",
    }


@pytest.mark.slow
def test_correlations_of_ratings(tmp_path, capsys):
    """Models that are better in A are worse in E."""
    rng, lines = np.random.default_rng(0), ["model,question,judge,rubric,score"]
    for number, model in enumerate(("m0", "m1", "m2", "m3")):
        for question, judge, item in itertools.product(range(9), "xy", ("A1", "A2", "E1", "E2")):
            level = number if item[0] == "A" else 3 - number
            score = int(rng.random() < 0.2 + 0.2 * level)
            lines.append(f"{model},q{question},{judge},{item},{score}")
    ratings = write(tmp_path, "\n".join(lines) + "\n", "ratings.csv")
    given = ["correlate", "--evaluation", ratings, "--workdir", tmp_path, "--replicates", 5]
    assert run(*given, "--method", "ridge") == 0
    assert "over models" in capsys.readouterr().out
    told = json.loads((tmp_path / "correlations.json").read_text())
    assert told["dimensions"] == ["A", "E"] and told["over_models"][0][1] < -0.5
    matrix = np.array(told["over_models"], float)
    np.testing.assert_allclose(matrix, np.corrcoef(np.array(told["scores"], float)), rtol=1e-6)
    assert told["low"][0][1] <= told["high"][0][1] < 0
    assert (tmp_path / "radar.png").is_file() and (tmp_path / "correlations.png").is_file()


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ((), "correlations need three models and two dimensions, found 2 and 1"),
        (("--models", "m0,m7"), "--models: expected some of m0, m1, found 'm7'"),
    ],
)
def test_too_few_models_are_told_before_anything_is_fitted(
    models, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(correlation.calibration, "calibrate", None)
    lines = [f"m{m},q{q},x,A1,{(m + q) % 2}" for m, q in itertools.product(range(2), range(3))]
    ratings = write(tmp_path, "\n".join(["model,question,judge,rubric,score", *lines]), "r.csv")
    assert run("correlate", "--evaluation", ratings, "--workdir", tmp_path, *models) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["steer", "--model", "a=x", "--model", "A=y"], "--model: expected distinct names"),
        (["steer", "--model", "a=x", "--vectors", "b=v"], "--vectors: expected one file, or NAME="),
        (["steer", "--model", f"a={MODEL}", "--dimensions", "Z"], "has A, E, found 'Z'"),
        (["steer", "--model", f"a={MODEL}", "--judge", "local:nowhere"], "judge local:nowhere: "),
        (["drift", "--base", "x", "--model", "a=x", "--model", "a=y"], "expected distinct names"),
        (["correlate", "--evaluation", "."], "judgments.parquet: no judgments"),
    ],
)
def test_flags_that_make_no_sense_are_refused_in_a_line(words, message, vectors, tmp_path, capsys):
    words = [*words, "--workdir", tmp_path]
    if words[0] == "steer":
        words = [*words, "--vectors", vectors]
    assert run(*words) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("command", ["vectors", "steer", "drift", "correlate"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        run(command, "--help")
    out = capsys.readouterr().out
    assert caught.value.code == 0 and "--workdir DIR" in out and f"`analyze {command}`" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["steer", "--cap", "2,1"], "expected bounds LOW,HIGH, found '2,1'"),
        (["steer", "--alphas", "1,x"], "expected finite numbers, found '1,x'"),
        (["steer", "--model", "path"], "expected NAME=PATH, found 'path'"),
        (["steer", "--layers", "one"], "expected numbers of layers, found 'one'"),
        (["unknown"], "invalid choice: 'unknown'"),
    ],
)
def test_values_of_another_kind_are_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        run(*words)
    assert message in capsys.readouterr().err
