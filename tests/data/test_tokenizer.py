"""Tokenizers that load, and one line that names the file for those that don't."""

import builtins
import json
import shutil

import pytest

from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.files.model_directory import ModelFileError


@pytest.fixture
def directory(tiny_directory, tmp_path):
    return shutil.copytree(tiny_directory, tmp_path / "model")


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("tokenizer.json", lambda c: c["model"].update(merges=[{"a": 1}]), "MergeType"),
        ("tokenizer.json", lambda c: c["model"].update(type="Newer"), "ModelUntagged"),
        ("tokenizer.json", lambda c: c.update(added_tokens=5), "not iterable"),
        ("tokenizer_config.json", lambda c: c.update(tokenizer_class=["A"]), "tokenizer_class"),
        ("tokenizer_config.json", lambda c: c.update(eos_token={"a": 1}), "eos_token"),
        ("tokenizer_config.json", lambda c: c.update(model_max_length="x"), "'str'"),
        ("tokenizer_config.json", lambda c: c.update(additional_special_tokens=5), "list"),
    ],
)
def test_unsuitable_content_is_one_line_that_names_the_file(file, change, message, directory):
    edit(directory / file, change)
    with pytest.raises(ModelFileError) as error:
        load_tokenizer(directory)
    assert str(error.value).startswith(f"{directory / file}: ")
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "config.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "expected a JSON object, found a list"),
        (b"", "not readable as JSON"),
        (b'{"a": "\xe9"}', "not readable as JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    ],
)
def test_files_that_are_no_json_object(file, content, message, directory):
    (directory / file).write_bytes(content)
    with pytest.raises(ModelFileError, match=message) as error:
        load_tokenizer(directory)
    assert str(error.value).startswith(f"{directory / file}: ")


def test_a_missing_or_empty_vocabulary_is_refused(directory):
    """transformers makes a tokenizer without a vocabulary of them."""
    edit(directory / "tokenizer.json", lambda c: c["model"].update(vocab={}, merges=[]))
    with pytest.raises(ModelFileError, match="empty vocabulary"):
        load_tokenizer(directory)
    (directory / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json: not found"):
        load_tokenizer(directory)


def test_a_link_out_of_the_directory_is_not_followed_but_for_a_hub_cache(directory, tmp_path):
    (directory / "tokenizer.json").rename(tmp_path / "elsewhere.json")
    (directory / "tokenizer.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ModelFileError, match="leads out of the directory"):
        load_tokenizer(directory)
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    (tmp_path / "elsewhere.json").rename(blobs / "0123")
    snapshot = shutil.move(directory, tmp_path / "models--a--b" / "snapshots" / "main")
    (snapshot / "tokenizer.json").unlink()
    (snapshot / "tokenizer.json").symlink_to("../../blobs/0123")
    assert len(load_tokenizer(snapshot)) > 0


def test_code_of_the_directory_is_neither_run_nor_asked_for(directory, monkeypatch):
    (directory / "custom.py").write_text("raise SystemExit('ran')\n")
    auto = {"AutoConfig": "custom.C", "AutoTokenizer": ["custom.T", None]}
    edit(directory / "config.json", lambda c: c.update(model_type="custom", auto_map=auto))
    edit(directory / "tokenizer_config.json", lambda c: c.update(auto_map=auto))
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("asked"))
    try:
        load_tokenizer(directory)
    except ModelFileError as error:
        assert "\n" not in str(error)
