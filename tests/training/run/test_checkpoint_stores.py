"""Checkpoints in buckets: committed by a last object, read back exactly, damage told by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.files import store
from dignified_jax.models.checkpoint import orbax_s3, params_checkpoint
from dignified_jax.models.checkpoint.fetched import fetched
from dignified_jax.training.run import checkpoint
from dignified_jax.training.step.state import TrainState

pytestmark = pytest.mark.wiring

# Large enough for an object of its own, which TensorStore does not keep inside its index.
SIZE = 100_000


def state(step):
    numbers = np.random.default_rng(step)
    return TrainState(
        step=jnp.asarray(step, jnp.int32),
        params={"norm": jnp.asarray(numbers.normal(size=SIZE), jnp.float32)},
        opt_state={"mean": jnp.asarray(numbers.normal(size=3), jnp.bfloat16)},
        method_state={},
    )


def assert_equal(left, right):
    for one, two in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two), strict=True)


def objects(url):
    return set(store.files(url))


def test_checkpoints_of_a_bucket(url):
    """Written, kept, restored; half of one is none; a damaged one is told with the one before."""
    directory = f"{url}/checkpoints"
    with checkpoint.opened(directory, keep=2) as manager:
        for step in (1, 2, 3):
            checkpoint.save(manager, state(step), run={"config": {"seed": step}})
    assert {name.partition("/")[0] for name in objects(directory)} == {"2", "3"}
    assert str(params_checkpoint.newest_in(store.place(url))) == f"{directory}/3"
    assert checkpoint.read_run(directory) == {"config": {"seed": 3}}
    with checkpoint.opened(directory, keep=2) as manager:
        assert_equal(checkpoint.restore(manager, state(0)), state(3))
        assert_equal(checkpoint.restore(manager, state(0), 2), state(2))

    copy = params_checkpoint.load_params(fetched(f"{directory}/2"))
    assert_equal(copy, state(2).params)

    params = store.place(f"{directory}/3/params")
    file = max((params / name for name in objects(str(params))), key=lambda f: f.stat().length)
    whole = file.read_bytes()
    assert len(whole) > SIZE
    for damage in (whole[: len(whole) // 2], None):
        file.unlink() if damage is None else file.write_bytes(damage)
        with (
            checkpoint.opened(directory, keep=2) as manager,
            pytest.raises(checkpoint.DamagedError) as caught,
        ):
            checkpoint.restore(manager, state(0))
        assert str(caught.value).startswith(f"{directory}/3: cannot be restored: ")
        assert str(caught.value).endswith("; delete it to go on from 2")
    file.write_bytes(whole)

    (store.place(f"{directory}/3") / "commit_success.txt").unlink()
    assert str(params_checkpoint.newest_in(store.place(url))) == f"{directory}/2"
    with checkpoint.opened(directory, keep=2) as manager:
        assert manager.all_steps() == [2]
        checkpoint.save(manager, state(3))  # over what is left of the half
        checkpoint.finish(manager)
        assert_equal(checkpoint.restore(manager, state(0)), state(3))


def test_what_went_wrong_is_told_where_the_store_does_not_say_what_is_left(tmp_path, monkeypatch):
    def down(directory):
        raise RuntimeError("could not connect")

    with pytest.raises(OSError, match="no answer"), checkpoint.opened(tmp_path, keep=1):
        monkeypatch.setattr(checkpoint, "newest_in", down)
        raise OSError("no answer")


def test_an_orbax_that_cannot_be_taught_is_refused(monkeypatch):
    from orbax.checkpoint._src.serialization import tensorstore_utils

    monkeypatch.setattr(orbax_s3, "_taught", False)
    monkeypatch.delattr(tensorstore_utils, "_use_gcs_driver")
    with pytest.raises(ValueError, match=r"s3://b/a: this version of Orbax can't be taught s3://"):
        orbax_s3.teach("s3://b/a")
