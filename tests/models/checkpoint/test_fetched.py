"""What is copied of a run, a checkpoint or a model in a store, by the names alone."""

import pathlib

import pytest

from dignified_jax.files import store
from dignified_jax.models.checkpoint.fetched import fetched

pytestmark = pytest.mark.wiring

RUN = (
    *("config.json", "metrics.jsonl", "model/config.json", "model/tokenizer.json"),
    *("checkpoints/9/params/a", "checkpoints/9/checksum/metadata", "checkpoints/9/rest/b"),
    *("checkpoints/9/commit_success.txt", "checkpoints/9/params/commit_success.txt"),
    *("checkpoints/12/params/a", "checkpoints/12/params/commit_success.txt"),  # not committed
    *("checkpoints/3/params/a", "checkpoints/3/checksum/metadata"),
    "checkpoints/3/commit_success.txt",
)
BESIDE = {"config.json", "model/config.json", "model/tokenizer.json"}


def of_checkpoint(before):
    return {f"{before}params/a", f"{before}checksum/metadata"}


@pytest.mark.parametrize(
    ("names", "at", "inner", "expected"),
    [
        (
            RUN,
            "",
            "checkpoints/9",
            {*of_checkpoint("checkpoints/9/"), "checkpoints/9/params/commit_success.txt", *BESIDE},
        ),
        (
            RUN,
            "checkpoints/",
            "checkpoints/9",
            {*of_checkpoint("checkpoints/9/"), "checkpoints/9/params/commit_success.txt", *BESIDE},
        ),
        (RUN, "checkpoints/3", "checkpoints/3", {*of_checkpoint("checkpoints/3/"), *BESIDE}),
        (
            ("params/a", "checksum/metadata", "model/config.json", "other/large"),
            *("", "", {*of_checkpoint(""), "model/config.json"}),
        ),
        (
            ("config.json", "model.safetensors", "tokenizer.json"),
            *("", "", {"config.json", "model.safetensors", "tokenizer.json"}),
        ),
    ],
    ids=["run", "checkpoints", "checkpoint", "bare", "hugging face"],
)
def test_what_is_copied(names, at, inner, expected, url):
    for name in names:
        (store.place(url) / name).write_text(name)
    found = pathlib.Path(fetched(f"{url}/{at}"))
    root = found.parents[len(inner.split("/")) - 1] if inner else found
    assert found == root / inner
    files = {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}
    assert files == expected
    assert all((root / name).read_text() == name for name in files)


def test_a_path_here_stays_and_what_is_not_there_is_told(url):
    assert fetched("runs/a") == "runs/a"
    with pytest.raises(FileNotFoundError, match="no such directory"):
        fetched(url)
