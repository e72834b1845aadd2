"""Numbered Orbax checkpoints of the whole train state.

A checkpoint directory holds `params`, `checksum` and `rest` (step, optimiser state, method state).
`checksum` also tells which arrays there are, and of which run. `params_checkpoint` reads the
parameters alone.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from dignified_jax.console.waiting import Look, Waiting, silent
from dignified_jax.files import store
from dignified_jax.models.checkpoint import bytes_read, checkpoint_index
from dignified_jax.models.checkpoint.literal_path import literal
from dignified_jax.models.checkpoint.params_checkpoint import (
    CHECKSUM,
    PARAMS,
    CheckpointError,
    explained,
    newest_in,
    read_checksum,
    verify,
)
from dignified_jax.training.run import fingerprint, quiet, storage
from dignified_jax.training.step.state import TrainState

REST = "rest"
# Beside the digests, in `checksum`.
ARRAYS, RUN = "arrays", "run"


class DamagedError(CheckpointError):
    """A checkpoint can't be restored; the message says from which one a run can go on."""


class OtherStateError(CheckpointError):
    """A whole checkpoint is of another train state; the message says where they differ."""


@contextlib.contextmanager
def opened(
    directory: str | store.Directory, keep: int, **best: str | None
) -> Iterator[ocp.CheckpointManager]:
    """`open_manager`, closed in the end; an error on the way tells which checkpoint is left.

    Raises:
      CheckpointError: the directory can't hold checkpoints; before anything else is done.
    """
    directory = store.place(directory)
    with explained(directory, "used for checkpoints"):
        if newest_in(directory) is None:
            checkpoint_index.probe(directory)  # before the manager, which removes half a save
        manager = open_manager(directory, keep, **best)
    try:
        with quiet.background():
            yield manager
            manager.close()
    except BaseException as error:
        with contextlib.suppress(Exception), quiet.background():
            manager.close()  # what went wrong first is what matters
        told = isinstance(error, DamagedError | OtherStateError)
        if isinstance(error, OSError | CheckpointError) and not told:
            with contextlib.suppress(Exception):  # a store that is down does not say
                newest = newest_in(directory)
                error.add_note(f"last whole checkpoint: {newest or 'none yet'}")
        raise


def open_manager(
    directory: str | store.Directory,
    keep: int,
    best_metric: str | None = None,
    best_mode: Literal["min", "max"] = "min",
) -> ocp.CheckpointManager:
    """Numbered checkpoints under `directory`; saves are asynchronous.

    The newest `keep` of them stay, and the best by `best_metric`, never one of NaN beside others. A
    checkpoint gets its name, and an older one is deleted, after its index was read back. What an
    interrupted save left is removed, so no other process may be writing there.
    """
    place = literal(directory)
    policy = [policies.LatestN(keep)]
    options: dict[str, Any] = {}
    if best_metric is not None:
        sign = -1.0 if best_mode == "min" else 1.0

        def merit(metrics: Mapping[str, float]) -> float:
            value = sign * metrics[best_metric]
            return -math.inf if math.isnan(value) else value  # which sorts anywhere

        policy.append(
            policies.BestN(get_metric_fn=merit, n=1, keep_checkpoints_without_metrics=False)
        )
        options = {"best_fn": merit, "best_mode": "max"}
    return ocp.CheckpointManager(
        place,
        options=ocp.CheckpointManagerOptions(
            create=True,
            cleanup_tmp_directories=True,
            preservation_policy=policies.AnyPreservationPolicy(policy),
            # Called before the checkpoint gets its name.
            async_options=ocp.AsyncOptions(
                post_finalization_callback=functools.partial(_verify_newest, store.place(place))
            ),
            **options,
        ),
    )


def _verify_newest(directory: store.Directory) -> None:
    """Verifies the checkpoint that was written last, whatever its name is meanwhile."""
    numbered = {entry: entry.name.partition(".")[0] for entry in directory.iterdir()}
    written = [entry for entry, number in numbered.items() if number.isdigit()]
    newest = max(written, key=lambda entry: int(numbered[entry]))
    for name, expected in read_checksum(newest)[ARRAYS].items():
        checkpoint_index.verify(newest / name, expected)


def save(
    manager: ocp.CheckpointManager,
    state: TrainState,
    metrics: Mapping[str, float] | None = None,
    run: Mapping[str, Any] | None = None,
) -> None:
    """Begins to write `state` as checkpoint number `state.step`, after the former one's end.

    Args:
      manager: from `open_manager`.
      state: of training.
      metrics: what the checkpoint is judged by.
      run: JSON object that says which run it is of, for `read_run`.

    Raises:
      CheckpointError: the former one could not be written to its end, or this not begun.
    """
    parts = {PARAMS: state.params, REST: _rest(state)}
    checksum: dict[str, Any] = {name: fingerprint.of_arrays(part) for name, part in parts.items()}
    checksum[ARRAYS] = {name: checkpoint_index.arrays(part) for name, part in parts.items()}
    checksum[RUN] = None if run is None else dict(run)
    with _written(manager, state):
        manager.save(
            int(state.step),
            args=ocp.args.Composite(
                **{name: ocp.args.StandardSave(part) for name, part in parts.items()},
                **{CHECKSUM: ocp.args.JsonSave(checksum)},
            ),
            metrics=dict(metrics) if metrics is not None else None,
        )


def finish(manager: ocp.CheckpointManager, state: TrainState | None = None) -> None:
    """Waits for the checkpoint under way, of `state` or one of its size.

    Raises:
      CheckpointError: it could not be written; the former ones are whole.
    """
    with _written(manager, state):
        manager.wait_until_finished()


def watched(manager: ocp.CheckpointManager, state: TrainState) -> Look:
    """Returns a function that says how many bytes of a checkpoint under way lie on disk."""
    directory, total = store.place(manager.directory), storage.size(state)
    if store.is_url(directory):
        return lambda: None
    return lambda: (storage.half_written(directory), total)


@contextlib.contextmanager
def _written(manager: ocp.CheckpointManager, state: TrainState | None) -> Iterator[None]:
    directory = store.place(manager.directory)
    try:
        with explained(directory, "written"):
            yield
    except CheckpointError as error:
        if jax.process_index() == 0:
            storage.remove_half_written(directory)
        reason = storage.explained(error.__cause__ or error, directory, state)
        if reason is None:
            raise
        raise CheckpointError(f"{directory}: no checkpoint can be written: {reason}") from error


def restore(
    manager: ocp.CheckpointManager,
    template: TrainState,
    step: int | None = None,
    show: Waiting = silent,
) -> TrainState:
    """A numbered checkpoint (default the newest), of the shapes and shardings of `template`.

    Args:
      manager: from `open_manager`.
      template: a state, or `jax.ShapeDtypeStruct`s that carry shardings.
      step: number of the checkpoint.
      show: shows what is waited for.

    Raises:
      OtherStateError: it is whole, and not of the template's arrays.
      DamagedError: it is damaged.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
    step = manager.latest_step() if step is None else step
    parts = {PARAMS: abstract.params, REST: _rest(abstract)}
    args = ocp.args.Composite(
        **{name: ocp.args.StandardRestore(part) for name, part in parts.items()},
        **{CHECKSUM: ocp.args.JsonRestore()},
    )
    place = store.place(manager.directory) / str(step)
    with _damage_told(manager, step):
        for name, saved in read_checksum(place).get(ARRAYS, {}).items():
            checkpoint_index.verify(place / name, saved)
        found = {name: checkpoint_index.read(place / name) for name in parts}
    for name, part in parts.items():
        _refuse_other(place, checkpoint_index.by_path(part), found[name])
    look = bytes_read.watched(place)
    with _damage_told(manager, step):
        with show(f"reading checkpoint {step}", share=True, look=look):
            restored = manager.restore(step, args=args)
        for name in parts:
            verify(restored[CHECKSUM][name], restored[name])
    return TrainState(params=restored[PARAMS], **restored[REST])


def _refuse_other(
    place: store.Directory, expected: Mapping[str, str], found: Mapping[str, str]
) -> None:
    """Names the first array in which a checkpoint's state is another than this run's."""
    paths = sorted(expected.keys() | found.keys())
    other = [path for path in paths if expected.get(path) != found.get(path)]
    if not other:
        return
    kinds = {"opt_state": "optimiser state", "method_state": "state of the method"}
    kind = kinds.get(other[0].partition("/")[0], "set of parameters")
    here, there = (each.get(other[0], "nothing") for each in (expected, found))
    more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
    raise OtherStateError(
        f"{place}: holds another {kind}: {other[0]}: expected {here}, found {there}{more}. It is "
        "whole: go on with the version and settings that wrote it, or choose another "
        "--config.workdir"
    )


@contextlib.contextmanager
def _damage_told(manager: ocp.CheckpointManager, step: int) -> Iterator[None]:
    try:
        with explained(f"{manager.directory}/{step}", "restored"):
            yield
    except CheckpointError as error:
        directory = store.place(manager.directory)
        whole = [other for other in manager.all_steps() if other != step]
        whole = [other for other in whole if _readable(directory / str(other))]
        remedy = f"delete it to go on from {whole[-1]}" if whole else "no other is whole"
        raise DamagedError(f"{error}; {remedy}") from error


def _readable(checkpoint: store.Directory) -> bool:
    try:
        for name in (PARAMS, REST):
            checkpoint_index.verify(checkpoint / name, [])
        read_checksum(checkpoint)
    except Exception:  # TensorStore's errors are of class Exception itself
        return False
    return True


def _rest(state: TrainState) -> dict[str, Any]:
    """All of the state but the parameters, which conversion reads alone."""
    return {
        "step": state.step,
        "opt_state": state.opt_state,
        "method_state": state.method_state,
    }


def read_run(directory: str | store.Directory) -> Mapping[str, Any] | None:
    """Returns what `save` was told of its run, by the newest checkpoint under `directory`.

    None where there is no checkpoint, or one of a version that did not write it.

    Raises:
      CheckpointError: it can't be read.
    """
    newest = newest_in(store.place(directory))
    if newest is None:
        return None
    with explained(newest, "read"):
        return read_checksum(newest).get(RUN)
