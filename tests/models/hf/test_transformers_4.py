"""Exports read by transformers 4, in an environment of its own: logits and token ids equal.

What it then writes is read as the same model.
"""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dignified_jax.models import hf
from tests.oracles import hf_models

PACKAGES = ("transformers==4.57.6", "tokenizers==0.22.1", "huggingface_hub==0.36.2")
TOKENS = np.random.default_rng(0).integers(0, 131, (1, 40))
TEXT = "<|im_start|>user\nBoats <tool_call> float.<|im_end|>\n<|object_ref_start|>"
READER = """
import json, pathlib, sys
import numpy as np, torch, transformers
root, text = pathlib.Path(sys.argv[1]), sys.argv[2]
assert transformers.__version__ == "4.57.6"
tokens = torch.as_tensor(np.load(root / "tokens.npy"))
for directory in sorted(root.glob("export-*")):
    model = transformers.AutoModelForCausalLM.from_pretrained(directory).eval()
    with torch.no_grad():
        np.save(directory / "theirs.npy", model(tokens).logits.float().numpy())
    model.save_pretrained(directory / "again")
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    found = {"ids": dict(tokenizer(text)), "eos": tokenizer.eos_token_id,
             "special": sorted(map(str, tokenizer.all_special_tokens)),
             "stops": model.generation_config.eos_token_id}
    (directory / "theirs.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A folder of packages: that of TRANSFORMERS_4_PACKAGES, or installed for the test."""
    given = os.environ.get("TRANSFORMERS_4_PACKAGES")
    if given:
        return given
    target = tmp_path_factory.mktemp("transformers4")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target)]
    if subprocess.run([*command, *PACKAGES], capture_output=True).returncode:
        pytest.skip("transformers 4 can't be installed here")
    return str(target)


def save_tokenizer(directory):
    """One with special tokens beyond eos and pad, as Qwen3's has."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>"]
    whole = Tokenizer(models.BPE())
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    whole.train_from_iterator(["Boats float.\n"], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=whole,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special[1:],
    )
    tokenizer.add_tokens(["<tool_call>"])
    tokenizer.save_pretrained(directory)


@pytest.mark.slow
def test_every_familys_export_is_read_alike(environment, tmp_path):
    wants = {}
    for family in hf_models.FAMILIES:
        source = tmp_path / "source" / family
        hf_models.build(family, scale=3.0, vocab_size=320).save_pretrained(source)
        save_tokenizer(source)
        model, params = hf.load(source)
        tokenizer = AutoTokenizer.from_pretrained(source)
        out = tmp_path / f"export-{family}"
        hf.save(out, model, params, tokenizer)
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        assert "<|im_end|>" in hf.add_end_of_turn(out, tokenizer, end)
        ids = dict(tokenizer(TEXT))
        special = sorted(map(str, {*tokenizer.all_special_tokens}))
        wants[out] = (model.apply({"params": params}, TOKENS), ids, end, special)
    np.save(tmp_path / "tokens.npy", TOKENS)
    path = os.pathsep.join([environment, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", READER, str(tmp_path), TEXT]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for out, (logits, ids, end, special) in wants.items():
        theirs = np.load(out / "theirs.npy")
        error = np.abs(np.asarray(logits) - theirs).max() / np.abs(theirs).max()
        assert error <= 1e-4, out.name
        found = json.loads((out / "theirs.json").read_text())
        assert (found["ids"], found["eos"], found["special"]) == (ids, end, special), out.name
        assert end in np.atleast_1d(found["stops"]), out.name
        (model, params), (again, same) = hf.load(out), hf.load(out / "again")
        assert again.config.computes_like(model.config), out.name
        assert jax.tree.all(jax.tree.map(np.array_equal, params, same)), out.name
