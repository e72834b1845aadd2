""" "~" in paths, wherever a path may stand."""

import argparse
import os

import pytest

from dignified_jax.typed_config import (
    ConfigError,
    Path,
    Place,
    SourcePath,
    expand_home,
    path_argument,
    place_argument,
)
from dignified_jax.typed_config.sections import convert


@pytest.fixture(autouse=True)
def home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")


@pytest.mark.parametrize(
    ("hint", "text", "expected"),
    [
        (Path, "~/run", "/home/me/run"),
        (Path, "~", "/home/me"),
        (Path, "a/~b", "a/~b"),
        (Path, "./~b", "./~b"),
        (Path, "embedded:x/y", "embedded:x/y"),
        (Path, "owner/name:split", "owner/name:split"),
        (Path, "", ""),
        (Path, "a/b://c", "a/b://c"),
        (Place, "~/run", "/home/me/run"),
        (Place, "gs://bucket/~run", "gs://bucket/~run"),
        (Path | None, None, None),
        (tuple[Path, ...], ["~/a", "b"], ("/home/me/a", "b")),
        (tuple[SourcePath, ...], ["truthfulqa:~/t.csv"], ("truthfulqa:/home/me/t.csv",)),
    ],
)
def test_the_home_directory(hint, text, expected):
    assert convert(hint, text, "key") == expected


def test_without_home_the_password_database_is_asked(monkeypatch):
    monkeypatch.delenv("HOME")
    assert expand_home("~/x") == os.path.join(os.path.expanduser("~"), "x")
    assert not expand_home("~/x").startswith("~")


@pytest.mark.parametrize("text", ["~nobody-of-this-name/x", "a\0b"])
def test_what_is_no_path_is_refused(text):
    with pytest.raises(ConfigError, match=r"^workdir: expected a (known home directory|path)"):
        convert(Path, text, "workdir")
    with pytest.raises(argparse.ArgumentTypeError, match="expected a"):
        path_argument(text)


@pytest.mark.parametrize("text", ["", " "])
def test_a_flag_without_a_path_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="found an empty text"):
        path_argument(text)


@pytest.mark.parametrize("text", ["s3://bucket/rows.jsonl", "gs://b/c", "https://host/file"])
@pytest.mark.parametrize("hint", [Path, SourcePath, Path | None])
def test_a_url_is_refused_where_a_path_is_wanted(text, hint):
    with pytest.raises(ConfigError) as caught:
        convert(hint, text, "data.train")
    assert str(caught.value) == (
        f"data.train: expected a path here, found {text}; mount the bucket, or copy what is wanted"
    )
    with pytest.raises(argparse.ArgumentTypeError, match="expected a path here, found"):
        path_argument(text)
    assert convert(Place, text, "workdir") == place_argument(text) == text
