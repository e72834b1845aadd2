"""The files that the documentation's commands name, small."""

import csv
import json
import pathlib
import shutil

from dignified_jax.embedded import resolve
from tests.docs.blocks import ROOT
from tests.oracles import hf_models


def write(directory):
    """Preference rows, a tiny model, ratings, and links to the repository's own folders."""
    for name in ("configs", "launch", "benchmarks", "dignified_jax", "setup.py", "docs"):
        (directory / name).symlink_to(ROOT / name)
    _write_rows("embedded:personaknob_mini/train.jsonl", directory / "train.jsonl", 40)
    _write_rows("embedded:personaknob_mini/test.jsonl", directory / "test.jsonl", 16)
    _write_model(directory / "path" / "to" / "model")
    shutil.copy(resolve("embedded:ratings.csv"), directory / "ratings.csv")
    _write_ordinal(directory / "ratings.csv", directory / "ratings_1_to_5.csv")


def _write_rows(name, file, count):
    lines = pathlib.Path(resolve(name)).read_text(encoding="utf-8").splitlines()[:count]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_model(directory):
    """A random Qwen3 of three narrow layers with the embedded tokenizer."""
    source = pathlib.Path(resolve("embedded:tiny-qwen3"))
    fields = json.loads((source / "config.json").read_text(encoding="utf-8"))
    sizes = {"vocab_size": fields["vocab_size"], "max_position_embeddings": 4096}
    model = hf_models.build("qwen3-tied", scale=1.0, **sizes)
    model.generation_config.eos_token_id = fields["eos_token_id"]
    model.save_pretrained(directory)
    for file in source.iterdir():
        if file.name.startswith(("tokenizer", "chat_template")):
            shutil.copy(file, directory)


def _write_ordinal(source, target):
    """The same ratings from 1 to 5: the answer no is spread over 1 and 2, yes over 3 to 5."""
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["score"] = 1 + number % 2 if row["score"] == "0" else 3 + number % 3
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
