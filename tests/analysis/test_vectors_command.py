"""`analyze vectors` from its flags to its files, on the embedded model."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from dignified_jax import analyze
from dignified_jax.models import hf
from dignified_jax.models.checkpoint import vector_file
from dignified_jax.models.checkpoint.vector_file import VectorFileError
from tests.analysis.test_contrasts import OWN, write

pytestmark = pytest.mark.wiring

PERSONAS = """\
assistant: [You are an assistant.]
personas: {pirate: You are a pirate., poet: You are a poet.}
questions: ["Who are you?", "What now?", "And then?"]
"""


def flags(directory, *further):
    pairs = write(directory, OWN)
    workdir = directory / "out"
    flags = ["--model", "embedded:tiny-qwen3", "--workdir", workdir, "--pairs", pairs, *further]
    return ["vectors", *map(str, flags)]


@pytest.mark.slow
def test_vectors_of_prompts(tmp_path, tiny_directory, capsys):
    """Written with their provenance, equal to differences of transformers' states (1e-4)."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert analyze.main(flags(tmp_path, "--states", "last_prompt", "--layer", "2")) == 0
    assert "split-half cosine" in capsys.readouterr().out
    config = hf.load(tiny_directory)[0].config
    found = vector_file.read(tmp_path / "out" / "vectors.safetensors", config)
    told = json.loads((tmp_path / "out" / "vectors.json").read_text())
    assert told["provenance"] == found.provenance
    assert found.provenance["states"] == "last_prompt" and found.vectors["W"].layer == 2
    assert len(told["evidence"]["W"]["auroc"]) == config.num_layers
    assert {file.name for file in (tmp_path / "out").glob("*.png")} == {
        "separation.png",
        "reliability.png",
    }
    tokenizer = AutoTokenizer.from_pretrained(tiny_directory)
    reference = AutoModelForCausalLM.from_pretrained(tiny_directory, dtype=torch.float32).eval()
    states = []
    framings = [("Be warm.", "Be cold."), ("Smile.", "Frown."), ("Be warm.", "Be cold.")]
    for question, pair in zip(["How are you?", "What now?", "Why?"], framings, strict=True):
        own = []
        for framing in (*pair, "Answer."):
            turns = [
                {"role": "system", "content": framing},
                {"role": "user", "content": question},
            ]
            ids = tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            with torch.no_grad():
                layers = reference(**ids, output_hidden_states=True).hidden_states[1:-1]
            own.append([layer[0, -1].numpy() for layer in layers])
        states.append(own)
    positive, negative, neutral = np.mean(states, axis=0)
    last = slice(0, config.num_layers - 1)  # transformers norms the last one
    vector = found.vectors["W"]
    scale = np.abs(positive).max()
    np.testing.assert_allclose(vector.difference[last], positive - negative, atol=1e-4 * scale)
    np.testing.assert_allclose(vector.away[last], negative - neutral, atol=1e-4 * scale)


@pytest.mark.slow
def test_vectors_of_responses_go_on_where_they_were_stopped(tmp_path, capsys):
    personas = write(tmp_path, PERSONAS, "personas.yaml")
    given = flags(tmp_path, "--max_new_tokens", "4", "--layer", "causal", "--axis", personas)
    assert analyze.main(given) == 0
    out = capsys.readouterr().out
    assert "W: 9 responses to generate" in out and "assistant: 9 responses" in out
    ledgers = sorted((tmp_path / "out" / "responses").glob("*.jsonl"))
    before = [file.read_text() for file in ledgers]
    first = vector_file.read(tmp_path / "out" / "vectors.safetensors")
    assert set(first.vectors) == {"W", "assistant", "assistant_contrast"}
    assert (tmp_path / "out" / "axis.png").is_file()
    effects = first.provenance["dimensions"]["W"]["causal_effect"]
    assert first.vectors["W"].layer == int(np.argmax(effects))
    ledgers[0].write_text("".join(ledgers[0].read_text().splitlines(keepends=True)[:-1]))
    assert analyze.main(given) == 0
    assert "1 responses to generate" in capsys.readouterr().out
    assert [file.read_text() for file in ledgers] == before
    again = vector_file.read(tmp_path / "out" / "vectors.safetensors")
    np.testing.assert_array_equal(
        again.vectors["assistant"].difference, first.vectors["assistant"].difference
    )


@pytest.mark.parametrize(
    ("further", "message"),
    [
        (["--dimensions", "W,Z"], "--dimensions: expected some of W, found 'Z'"),
        (
            ["--states", "last_prompt", "--layer", "causal"],
            "--layer causal needs --states response or bare_response",
        ),
        (["--layer", "best"], "--layer: expected separation, causal or a number, found 'best'"),
        (["--layer", "99"], "--layer: expected 0 to 5, found 99"),
    ],
)
def test_flags_that_make_no_sense_are_refused_in_a_line(further, message, tmp_path, capsys):
    assert analyze.main(flags(tmp_path, *further)) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_files_of_others_and_vectors_of_other_models_are_refused(tmp_path, tiny_directory):
    config = hf.load(tiny_directory)[0].config
    other = tmp_path / "model.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, other)
    with pytest.raises(VectorFileError, match="expected vectors that `analyze vectors` wrote"):
        vector_file.read(other)
    small = vector_file.PersonaVector("W", *np.zeros((3, 2, 8), np.float32), 1)
    vector_file.write(other, [small], {"states": "response"})
    assert vector_file.read(other).vectors["W"].layer == 1
    with pytest.raises(VectorFileError, match=r"W is of a model of 2 layers of width 8, and this"):
        vector_file.read(other, config)


def test_a_dimension_of_the_axis_own_name_is_refused_before_the_model_is_read(tmp_path, capsys):
    pairs = write(tmp_path, OWN.replace("W:", "assistant:"))
    given = ["--model", tmp_path, "--workdir", tmp_path / "out", "--pairs", pairs, "--axis"]
    assert analyze.main(["vectors", *map(str, given)]) == 1
    assert "--axis: assistant is its own name" in capsys.readouterr().err
