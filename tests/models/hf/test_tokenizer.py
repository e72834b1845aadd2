"""Tokenizer files that both transformers read, and the token at which an export stops."""

import json

import pytest
from transformers import AutoTokenizer

from dignified_jax.models import hf


@pytest.fixture
def tokenizer(tiny_directory):
    return AutoTokenizer.from_pretrained(tiny_directory)


def write(directory, **files):
    for name, content in files.items():
        (directory / f"{name}.json").write_text(json.dumps(content))


def read(directory, name):
    return json.loads((directory / f"{name}.json").read_text())


def test_saved_special_tokens_are_under_the_name_of_transformers_4(tokenizer, tmp_path):
    """As a list, ``extra_special_tokens`` can't be read there."""
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|extra|>"]})
    hf.save_tokenizer(tmp_path, tokenizer)
    fields = read(tmp_path, "tokenizer_config")
    assert fields["additional_special_tokens"] == ["<|im_start|>", "<|extra|>"]
    assert "token_type_ids" not in fields["model_input_names"]
    assert fields.keys().isdisjoint({"extra_special_tokens", "backend", "is_local", "auto_map"})
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.all_special_tokens == tokenizer.all_special_tokens
    assert (
        again("<|extra|>a<|im_start|>")["input_ids"]
        == tokenizer("<|extra|>a<|im_start|>").input_ids
    )


@pytest.mark.parametrize(("before", "after"), [(0, [2, 0]), ([0, 1], [2, 0, 1]), (None, 2)])
def test_the_trained_end_of_a_reply_is_an_eos_token_of_the_export(
    before, after, tokenizer, tmp_path
):
    config = {"eos_token_id": before}
    eos = {"content": "<|endoftext|>", "lstrip": False}
    write(tmp_path, config=config, generation_config=config, tokenizer_config={"eos_token": eos})
    end = tokenizer.convert_ids_to_tokens(2)
    assert f"{end} (id 2)" in hf.add_end_of_turn(tmp_path, tokenizer, 2)
    assert read(tmp_path, "config")["eos_token_id"] == after
    assert read(tmp_path, "generation_config")["eos_token_id"] == after
    assert read(tmp_path, "tokenizer_config")["eos_token"] == end
    assert hf.add_end_of_turn(tmp_path, tokenizer, 2) is None


def test_an_export_that_stops_there_already_is_left_alone(tokenizer, tmp_path):
    end = tokenizer.convert_ids_to_tokens(2)
    write(tmp_path, config={"eos_token_id": [1, 2]}, tokenizer_config={"eos_token": end})
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert hf.add_end_of_turn(tmp_path, tokenizer, 2) is None
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
