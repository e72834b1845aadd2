"""The cache of compiled programs: read at a restart, harmless when damaged, the same bits."""

import collections
import contextlib
import dataclasses
import io
import pathlib

import jax
import pytest

from dignified_jax.training import loop
from dignified_jax.training.run import cache_entries, compilation_cache, devices
from tests.oracles import command, tiny_run

pytestmark = pytest.mark.wiring

DEVICES = 1
FOLDER = f"{devices.cpu_cores()}_cores"


def run(root, workdir, cache):
    """What a run of 4 steps and 2 evaluations says, in a process that has compiled nothing."""
    jax.clear_caches()
    changes = {"mesh__fsdp": 1, "max_steps": 4}
    changes["compilation_cache"] = str(cache)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        loop.run(tiny_run.config(root, workdir, **changes))
    return said.getvalue()


@dataclasses.dataclass(frozen=True)
class Cold:
    """The run that filled the cache.

    Attributes:
      compiled: records logged so far -> programs compiled then.
    """

    cache: pathlib.Path
    workdir: pathlib.Path
    said: str
    compiled: dict[int, int]


@pytest.fixture(scope="module")
def cold(root, tmp_path_factory):
    cache, workdir = tmp_path_factory.mktemp("compiled"), tmp_path_factory.mktemp("cold")
    compiled = collections.Counter()

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled[command.lines(workdir)] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        said = run(root, workdir, cache)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return Cold(cache, workdir, said, compiled)


def entries(cache):
    return sorted(cache.glob("*-cache"))


@pytest.mark.slow
def test_programs_for_other_numbers_of_cores_have_their_own_folder(cold):
    """JAX would read one that was compiled for fewer, and leave cores idle."""
    assert [path.name for path in cold.cache.iterdir()] == [FOLDER]
    assert entries(cold.cache / FOLDER)


def test_nothing_is_compiled_after_the_first_step_evaluation_and_checkpoint(cold):
    """Although batches take one accumulation step or two, and one is short."""
    # Steps 1 and 2 are the first records, an evaluation the third, another the sixth.
    assert command.lines(cold.workdir) == 6
    assert cold.compiled[0] > 0
    assert cold.compiled.keys() <= {0, 2, 3, 6}, cold.compiled  # 6: the summary


def test_cold_and_warm_give_the_same_bits(cold, root, tmp_path):
    assert cold.said.count("compiled the train step in ") == 1
    assert cold.said.count("compiled the score step in ") == 1  # for both splits, and both models
    assert any(entry.name.startswith("jit_train_step-") for entry in entries(cold.cache / FOLDER))
    warm = run(root, tmp_path / "warm", cold.cache)
    assert warm.count("read the train step from the compilation cache in ") == 1
    assert warm.count("read the score step from the compilation cache in ") == 1
    assert "compiled the" not in warm and "removed" not in warm
    command.assert_equal(tmp_path / "warm", cold.workdir)


def test_a_damaged_cache_gives_the_same_bits_and_is_repaired(cold, root, tmp_path):
    """Entries that are cut, and one that was swapped: JAX runs what lies under a program's name."""
    cache = cold.cache  # a copy would be another cache: its directory is in the programs' names
    found = entries(cache / FOLDER)
    (train,) = (entry for entry in found if entry.name.startswith("jit_train_step-"))
    scores = [entry for entry in found if entry.name.startswith("jit_sum_step-")]
    train.write_bytes(scores[0].read_bytes())
    cut = {*scores, *found[::4]} - {train}
    for entry in cut:
        entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2])
    damaged = run(root, tmp_path / "damaged", cache)
    assert f"{cache / FOLDER}: removed {len(cut) + 1} damaged entries" in damaged
    assert "compiled the train step in " in damaged
    assert "compiled the score step in " in damaged
    command.assert_equal(tmp_path / "damaged", cold.workdir)
    assert {train, *scores} <= set(entries(cache / FOLDER))
    assert cache_entries.remove_damaged(cache / FOLDER) == 0


def test_settings_of_jax_are_as_before(root, tmp_path):
    def settings():
        names = ("cache_dir", "persistent_cache_min_compile_time_secs")
        return [getattr(jax.config, f"jax_{name}", None) for name in names]

    before = settings()
    config = tiny_run.config(root, tmp_path / "run", compilation_cache=str(tmp_path / "cache"))
    with pytest.raises(RuntimeError), compilation_cache.used(config, print):
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "cache" / FOLDER)
        jax.jit(lambda x: x * 2.5 + 0.125)(3.0)  # quick, and written even so
        assert len(entries(tmp_path / "cache" / FOLDER)) > 0
        raise RuntimeError
    assert settings() == before


def test_the_field_then_the_environment_then_the_run_directory(root, tmp_path):
    config = tiny_run.config(root, tmp_path / "run")
    named = tiny_run.config(root, tmp_path / "run", compilation_cache="mine")
    before = jax.config.jax_compilation_cache_dir
    assert compilation_cache.directory(named) == str(pathlib.Path.cwd() / "mine")
    bucket = tiny_run.config(root, tmp_path / "run", compilation_cache="gs://bucket/cache")
    assert compilation_cache.directory(bucket) == "gs://bucket/cache"
    assert compilation_cache.directory(config) == before
    jax.config.update("jax_compilation_cache_dir", None)  # as where no variable is set
    try:
        assert compilation_cache.directory(config) == str(tmp_path / "run" / "compilation_cache")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_a_cache_that_others_may_write_to_is_told(tmp_path):
    """What is read from it is run."""
    config = tiny_run.config(tmp_path, tmp_path / "run", compilation_cache=str(tmp_path / "cache"))
    notes = []
    with compilation_cache.used(config, notes.append):
        assert notes == []
    (tmp_path / "cache").chmod(0o777)
    with compilation_cache.used(config, notes.append):
        (note,) = notes
    assert note.startswith(f"{tmp_path / 'cache'}: others may write here")
