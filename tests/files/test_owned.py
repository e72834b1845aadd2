"""What we wrote is replaced; what others put beside it is not touched."""

import pytest

from dignified_jax.files import owned


def write(directory, files, **options):
    with owned.writing(directory, **options) as partial:
        for name, text in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_text(text)


def read(directory):
    paths = (path for path in directory.rglob("*") if path.is_file())
    found = {str(path.relative_to(directory)): path.read_text() for path in paths}
    found.pop(owned.MANIFEST, None)
    return found


def test_a_directory_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "model_ema.safetensors").write_text("mine")
    with pytest.raises(ValueError, match=r"is not empty \(it has model_ema\.safetensors\)"):
        write(tmp_path, {"model.safetensors": "new"})
    assert read(tmp_path) == {"model_ema.safetensors": "mine"}
    write(tmp_path, {"model.safetensors": "new"}, overwrite=True)
    assert read(tmp_path) == {"model_ema.safetensors": "mine", "model.safetensors": "new"}


def test_files_of_others_are_neither_replaced_nor_removed(tmp_path):
    (tmp_path / "config.json").write_text("the run's")
    with pytest.raises(ValueError, match=r"config\.json: was not written by an earlier export"):
        write(tmp_path, {"a": "new", "config.json": "new"}, overwrite=True)
    assert read(tmp_path) == {"config.json": "the run's"}
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_an_earlier_writing_goes_whole(tmp_path):
    target = tmp_path / "out"
    write(target, {"a": "1", "deep/b": "1", "deep/er/c": "1"})
    (target / "deep" / "mine").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        write(target, {"a": "2"})
    write(target, {"a": "2", "d/e": "2"}, overwrite=True)
    assert read(target) == {"a": "2", "d/e": "2", "deep/mine": "mine"}
    assert not (target / "deep" / "er").exists()


def test_a_failed_writing_leaves_the_former(tmp_path):
    target = tmp_path / "out"
    write(target, {"a": "1"})
    with pytest.raises(RuntimeError), owned.writing(target, overwrite=True) as partial:
        (partial / "a").write_text("2")
        raise RuntimeError
    assert read(target) == {"a": "1"}
    with pytest.raises(RuntimeError), owned.writing(tmp_path / "new"):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path):
    killed = owned.writing(tmp_path / "out")
    (killed.__enter__() / "half").write_text("1")
    write(tmp_path / "out", {"a": "1"})
    assert read(tmp_path) == {f"out/{owned.MANIFEST}": '{\n  "files": [\n    "a"\n  ]\n}\n'} | {
        "out/a": "1"
    }
    (tmp_path / "two.partial").mkdir()
    (tmp_path / "two.partial" / "mine").write_text("mine")
    with pytest.raises(ValueError, match=r"two\.partial: is in the way"):
        write(tmp_path / "two", {"a": "1"})
    assert (tmp_path / "two.partial" / "mine").read_text() == "mine"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": 3}'])
def test_a_damaged_manifest_makes_nothing_ours(content, tmp_path):
    write(tmp_path / "out", {"a": "1"})
    (tmp_path / "out" / owned.MANIFEST).write_text(content)
    with pytest.raises(ValueError, match="was not written by an earlier export"):
        write(tmp_path / "out", {"a": "2"}, overwrite=True)
    write(tmp_path / "out", {"a": "2"}, overwrite=True, ours=lambda name: name == "a")
    assert read(tmp_path / "out") == {"a": "2"}


def test_a_directory_of_any_size_is_refused_at_its_first_file(tmp_path, monkeypatch):
    (tmp_path / "mine").touch()

    def endless(directory, pattern):
        yield directory / "mine"
        pytest.fail("walked on")

    monkeypatch.setattr("pathlib.Path.rglob", endless)
    with pytest.raises(ValueError, match=r"is not empty \(it has mine\)"):
        owned.check(tmp_path)


def test_a_link_to_nothing_is_no_directory(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "gone")
    with pytest.raises(ValueError, match="link: is not a directory"):
        owned.check(link)
