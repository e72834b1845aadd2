"""Orbax checkpoints of the whole train state, and of bare parameters.

A checkpoint directory holds `params`, `checksum` and, when it comes from training, `rest` (step,
optimiser state, method state). `checksum` also tells which arrays there are, and of which run.

Beside it, or beside the directory of numbered checkpoints, lies `model`: config.json, tokenizer
and generation config, all that conversion to Hugging Face needs.
"""

from __future__ import annotations

import contextlib
import functools
import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint import checkpoint_managers as policies

from dignified_jax.files.model_directory import locate, read_object
from dignified_jax.training.run import checkpoint_index, fingerprint, quiet, storage
from dignified_jax.training.run.literal_path import literal
from dignified_jax.training.step.state import TrainState

MODEL_DIRECTORY = "model"
PARAMS, REST, CHECKSUM = "params", "rest", "checksum"
# Beside the digests, in `checksum`.
ARRAYS, RUN = "arrays", "run"
# Files that travel with the weights unchanged.
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json"),
    *("merges.txt", "tokenizer.model", "added_tokens.json", "chat_template.jinja"),
)
_SIDE_FILES = ("config.json", "generation_config.json", *TOKENIZER_FILES)


class CheckpointError(ValueError):
    """A checkpoint is missing, incomplete, or not of the expected kind."""


class DamagedError(CheckpointError):
    """A checkpoint can't be restored; the message says from which one a run can go on."""


@contextlib.contextmanager
def opened(
    directory: str | pathlib.Path, keep: int, **best: Any
) -> Iterator[ocp.CheckpointManager]:
    """`open_manager`, closed in the end; an error on the way tells which checkpoint is left.

    Raises:
      CheckpointError: the directory can't hold checkpoints; before anything else is done.
    """
    directory = pathlib.Path(directory)
    with _explained(directory, "used for checkpoints"):
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
        if isinstance(error, OSError | CheckpointError) and not isinstance(error, DamagedError):
            newest = newest_in(directory)
            error.add_note(f"last whole checkpoint: {newest or 'none yet'}")
        raise


def open_manager(
    directory: str | pathlib.Path,
    keep: int,
    best_metric: str | None = None,
    best_mode: Literal["min", "max"] = "min",
) -> ocp.CheckpointManager:
    """Numbered checkpoints under `directory`; saves are asynchronous.

    The newest `keep` of them stay, and the best by `best_metric`. A checkpoint gets its name, and
    an older one is deleted, after its index was read back. What an interrupted save left is
    removed, so no other process may be writing there.
    """
    directory = pathlib.Path(directory).absolute()
    policy = [policies.LatestN(keep)]
    options: dict[str, Any] = {}
    if best_metric is not None:
        sign = -1.0 if best_mode == "min" else 1.0

        def merit(metrics: Mapping[str, float]) -> float:
            return sign * metrics[best_metric]

        policy.append(
            policies.BestN(get_metric_fn=merit, n=1, keep_checkpoints_without_metrics=False)
        )
        options = {"best_fn": merit, "best_mode": "max"}
    return ocp.CheckpointManager(
        literal(directory),
        options=ocp.CheckpointManagerOptions(
            create=True,
            cleanup_tmp_directories=True,
            preservation_policy=policies.AnyPreservationPolicy(policy),
            # Called before the checkpoint gets its name.
            async_options=ocp.AsyncOptions(
                post_finalization_callback=functools.partial(_verify_newest, directory)
            ),
            **options,
        ),
    )


def _verify_newest(directory: pathlib.Path) -> None:
    """Verifies the checkpoint that was written last, whatever its name is meanwhile."""
    numbered = {entry: entry.name.partition(".")[0] for entry in directory.iterdir()}
    written = [entry for entry, number in numbered.items() if number.isdigit()]
    newest = max(written, key=lambda entry: int(numbered[entry]))
    for name, expected in _read_checksum(newest)[ARRAYS].items():
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


@contextlib.contextmanager
def _written(manager: ocp.CheckpointManager, state: TrainState | None) -> Iterator[None]:
    directory = pathlib.Path(manager.directory)
    try:
        with _explained(directory, "written"):
            yield
    except CheckpointError as error:
        if jax.process_index() == 0:
            storage.remove_half_written(directory)
        reason = storage.explained(error.__cause__ or error, directory, state)
        if reason is None:
            raise
        raise CheckpointError(f"{directory}: no checkpoint can be written: {reason}") from error


def restore(
    manager: ocp.CheckpointManager, template: TrainState, step: int | None = None
) -> TrainState:
    """A numbered checkpoint (default the newest), of the shapes and shardings of `template`.

    Args:
      template: a state, or `jax.ShapeDtypeStruct`s that carry shardings.

    Raises:
      DamagedError: it is damaged, or not of the template's shapes.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
    step = manager.latest_step() if step is None else step
    parts = {PARAMS: abstract.params, REST: _rest(abstract)}
    args = ocp.args.Composite(
        **{name: ocp.args.StandardRestore(part) for name, part in parts.items()},
        **{CHECKSUM: ocp.args.JsonRestore()},
    )
    with _damage_told(manager, step):
        restored = manager.restore(step, args=args)
        for name in parts:
            _verify(restored[CHECKSUM][name], restored[name])
    return TrainState(params=restored[PARAMS], **restored[REST])


@contextlib.contextmanager
def _damage_told(manager: ocp.CheckpointManager, step: int) -> Iterator[None]:
    try:
        with _explained(f"{manager.directory}/{step}", "restored"):
            yield
    except CheckpointError as error:
        directory = pathlib.Path(manager.directory)
        whole = [other for other in manager.all_steps() if other != step]
        whole = [other for other in whole if _readable(directory / str(other))]
        remedy = f"delete it to go on from {whole[-1]}" if whole else "no other is whole"
        raise DamagedError(f"{error}; {remedy}") from error


def _readable(checkpoint: pathlib.Path) -> bool:
    try:
        for name in (PARAMS, REST):
            checkpoint_index.verify(checkpoint / name, [])
        _read_checksum(checkpoint)
    except Exception:  # TensorStore's errors are of class Exception itself
        return False
    return True


def _verify(checksum: str, tree: Any) -> None:
    if fingerprint.of_arrays(tree) != checksum:
        raise ValueError("its numbers are not those that were saved")


def _rest(state: TrainState) -> dict[str, Any]:
    """All of the state but the parameters, which conversion reads alone."""
    return {
        "step": state.step,
        "opt_state": state.opt_state,
        "method_state": state.method_state,
    }


def save_params(directory: str | pathlib.Path, params: Any) -> None:
    """Writes a bare checkpoint: `directory`/params and its checksum.

    Raises:
      CheckpointError: there is one already.
    """
    target = literal(directory) / PARAMS
    if target.exists():
        raise CheckpointError(f"{target}: exists already; choose another directory")
    with _explained(target, "written"):
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(target, params)
        checkpoint_index.verify(target, checkpoint_index.arrays(params))
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as checkpointer:
        checksum = ocp.args.JsonSave({PARAMS: fingerprint.of_arrays(params)})
        checkpointer.save(target.parent / CHECKSUM, checksum, force=True)


def load_params(directory: str | pathlib.Path) -> Any:
    """The parameters of the checkpoint at `directory` (as `find` gives it), on one device.

    Works whatever mesh the checkpoint was written from.

    Raises:
      CheckpointError: there is none, or it is damaged.
    """
    target = literal(directory) / PARAMS
    with _explained(target, "restored"), ocp.StandardCheckpointer() as checkpointer:
        metadata = checkpointer.metadata(target).item_metadata
        if metadata is None:
            raise ValueError("its metadata are missing or damaged")
        sharding = SingleDeviceSharding(jax.devices()[0])
        template = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            metadata.tree,
        )
        params = checkpointer.restore(target, template)
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
            _verify(reader.restore(target.parent / CHECKSUM)[PARAMS], params)
        return params


@contextlib.contextmanager
def _explained(where: str | pathlib.Path, done: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # TensorStore's errors are of class Exception itself
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"{where}: cannot be {done}: {reason}") from error


def read_run(directory: str | pathlib.Path) -> Mapping[str, Any] | None:
    """Returns what `save` was told of its run, by the newest checkpoint under `directory`.

    None where there is no checkpoint, or one of a version that did not write it.

    Raises:
      CheckpointError: it can't be read.
    """
    newest = newest_in(pathlib.Path(directory))
    if newest is None:
        return None
    with _explained(newest, "read"):
        return _read_checksum(newest).get(RUN)


def _read_checksum(checkpoint: pathlib.Path) -> dict[str, Any]:
    # As Orbax's JsonCheckpointHandler names its file.
    return json.loads((checkpoint / CHECKSUM / "metadata").read_text(encoding="utf-8"))


def find(path: str | pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """(checkpoint directory, its `model` directory) for a path given by a person.

    The path may be a run directory, its `checkpoints`, one numbered checkpoint, or a bare one.

    Raises:
      CheckpointError: none is there; the message says where was looked.
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such directory")
    checkpoint = path if (path / PARAMS).is_dir() else newest_in(path)
    if checkpoint is None:
        raise CheckpointError(
            f"{path}: no checkpoint; expected {PARAMS}/ in it, or numbered checkpoints in it or "
            "in its checkpoints/"
        )
    around = [checkpoint, checkpoint.parent, checkpoint.parent.parent]
    for place in around:
        if (place / MODEL_DIRECTORY / "config.json").is_file():
            return checkpoint, place / MODEL_DIRECTORY
    looked = ", ".join(str(place / MODEL_DIRECTORY) for place in around)
    raise CheckpointError(f"{checkpoint}: no config.json found in {looked}")


def newest_in(path: pathlib.Path) -> pathlib.Path | None:
    for root in (path, path / "checkpoints"):
        entries = root.iterdir() if root.is_dir() else ()
        numbered = [e for e in entries if e.name.isdigit() and (e / PARAMS).is_dir()]
        if numbered:
            return max(numbered, key=lambda entry: int(entry.name))
    return None


def copy_model_files(
    source: str | pathlib.Path, target: str | pathlib.Path, names: Sequence[str] = _SIDE_FILES
) -> None:
    """Copies config, tokenizer and generation config, as they are, to `target`.

    Raises:
      ModelFileError: one is not readable, or a link that leads out of the directory.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if source == target or (file := locate(source, name)) is None:
            continue
        if file.suffix == ".json":
            read_object(file)
        shutil.copyfile(file, target / name)
