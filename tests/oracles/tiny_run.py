"""A whole run in small: tokenizer, random checkpoint, preference rows, and its configuration."""

import dataclasses
import json

from dignified_jax.data.train_tokenizer import train_tokenizer
from dignified_jax.objectives import LagDPO
from dignified_jax.objectives.duals.controllers import Ascent
from dignified_jax.objectives.duals.tolerances import Constant
from dignified_jax.training.config import DataConfig, ModelConfig, TrainConfig
from dignified_jax.training.step.optimizer import OptimizerConfig
from dignified_jax.training.step.sharding import MeshConfig
from tests.oracles import hf_models

# Masks differ, one row has all four dimensions, and C is rare: some batches are without it.
_MASKS = ("AT", "E", "ATE", "TE", "ATEC", "A", "TE", "AE", "T", "AT", "E", "ATE", "AT", "E", "T")
TRAIN_ROWS = 11
ROW_LENGTH = 80  # one example or two; those of a batch take one accumulation step or two


def records(masks=_MASKS):
    """Rows as they stand in a file: 11 to train on, 4 to test on; or a row for each mask."""
    return [
        {
            "prompt": f"Will boat {number} float?",
            "golden": f"Load it with {number} stones and look.",
            "mask": list(mask),
            **{f"reject_{dimension}": f"Sure, {dimension} {number}." for dimension in mask},
        }
        for number, mask in enumerate(masks)
    ]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_model(directory, dtype=None, **overrides):
    """A random three-layer Qwen3 with a tokenizer of 320 tokens, as Hugging Face directory."""
    texts = [text for row in records() for text in row.values() if isinstance(text, str)]
    train_tokenizer(texts, 320, directory)
    sizes = {"vocab_size": 320, "eos_token_id": 2, "pad_token_id": 0}
    model = hf_models.build("qwen3-tied", scale=2.0, **sizes | overrides)
    model.generation_config.eos_token_id = 2
    if dtype is not None:
        model = model.to(dtype)
    model.save_pretrained(directory)


def write(root):
    """Model and rows under `root`."""
    write_model(root / "model")
    rows = records()
    write_rows(root / "train.jsonl", rows[:TRAIN_ROWS])
    write_rows(root / "test.jsonl", rows[TRAIN_ROWS:])


def config(root, workdir, **changes):
    """A run of 6 steps over what `write` wrote: 9 rows to train on, 2 for validation, 4 to test.

    `changes` replace fields; those of sections are given as "section__field".
    """
    whole = TrainConfig(
        method=LagDPO(epsilon=(0.4,), schedule=Constant(), controller=Ascent(0.5)),
        workdir=str(workdir),
        epochs=2,
        batch_size=3,
        eval_every=2,
        checkpoint_every=2,
        data=DataConfig(
            train=str(root / "train.jsonl"),
            test=str(root / "test.jsonl"),
            validation_fraction=0.2,
            row_length=ROW_LENGTH,
        ),
        model=ModelConfig(
            path=str(root / "model"),
            compute_dtype="float32",
            remat="none",
            attention="dense",  # the soonest compiled; commands in their own process take "auto"
        ),
        optimizer=OptimizerConfig(learning_rate=3e-4),
        mesh=MeshConfig(data=1, fsdp=2),
    )
    fields = {}
    for name, value in changes.items():
        section, _, field = name.rpartition("__")
        if section:
            before = fields.get(section, getattr(whole, section))
            value = dataclasses.replace(before, **{field: value})
        fields[section or field] = value
    return dataclasses.replace(whole, **fields)
