"""Orbax checkpoints of the whole train state, and of bare parameters.

A checkpoint directory holds `params` and, when it comes from training, `rest` (step, optimiser
state, method state). Beside it, or beside the directory of numbered checkpoints, lies `model`:
config.json, tokenizer and generation config, all that conversion to Hugging Face needs.
"""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from dignified_jax.training.state import TrainState

MODEL_DIRECTORY = "model"
PARAMS, REST = "params", "rest"
# Files that travel with the weights unchanged.
_SIDE_FILES = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "vocab.json", "merges.txt", "tokenizer.model"),
    *("added_tokens.json", "chat_template.jinja"),
)


class CheckpointError(ValueError):
    """A checkpoint is missing, incomplete, or not of the expected kind."""


def open_manager(directory: str | pathlib.Path, keep: int) -> ocp.CheckpointManager:
    """Numbered checkpoints under `directory`, the newest `keep` of them kept; saves are async."""
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
    return ocp.CheckpointManager(pathlib.Path(directory).absolute(), options=options)


def save(manager: ocp.CheckpointManager, state: TrainState) -> None:
    """Begins to write `state` as checkpoint number `state.step`."""
    rest = _rest(state)
    manager.save(
        int(state.step),
        args=ocp.args.Composite(
            **{PARAMS: ocp.args.StandardSave(state.params), REST: ocp.args.StandardSave(rest)}
        ),
    )


def restore(manager: ocp.CheckpointManager, template: TrainState) -> TrainState:
    """The newest checkpoint, with the shapes, dtypes and shardings of `template`.

    Args:
      template: a state, or `jax.ShapeDtypeStruct`s that carry shardings.

    Raises:
      CheckpointError: it is damaged, or not of the template's shapes.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
    rest = _rest(abstract)
    step = manager.latest_step()
    args = ocp.args.Composite(
        **{
            PARAMS: ocp.args.StandardRestore(abstract.params),
            REST: ocp.args.StandardRestore(rest),
        }
    )
    with _explained(f"{manager.directory}/{step}"):
        restored = manager.restore(step, args=args)
    return TrainState(params=restored[PARAMS], **restored[REST])


def _rest(state: TrainState) -> dict[str, Any]:
    """All of the state but the parameters, which conversion reads alone."""
    return {
        "step": state.step,
        "opt_state": state.opt_state,
        "method_state": state.method_state,
    }


def save_params(directory: str | pathlib.Path, params: Any) -> None:
    """Writes a bare checkpoint: `directory`/params.

    Raises:
      CheckpointError: there is one already.
    """
    target = pathlib.Path(directory).absolute() / PARAMS
    if target.exists():
        raise CheckpointError(f"{target}: exists already; choose another directory")
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(target, params)


def load_params(directory: str | pathlib.Path) -> Any:
    """The parameters of the checkpoint at `directory` (as `find` gives it), on one device.

    Works whatever mesh the checkpoint was written from.

    Raises:
      CheckpointError: there is none, or it is damaged.
    """
    target = pathlib.Path(directory).absolute() / PARAMS
    with _explained(target), ocp.StandardCheckpointer() as checkpointer:
        metadata = checkpointer.metadata(target).item_metadata
        if metadata is None:
            raise ValueError("its metadata are missing or damaged")
        sharding = SingleDeviceSharding(jax.devices()[0])
        template = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            metadata.tree,
        )
        return checkpointer.restore(target, template)


@contextlib.contextmanager
def _explained(where: str | pathlib.Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # TensorStore's errors are of class Exception itself
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"{where}: cannot be restored: {reason}") from error


def find(path: str | pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """(checkpoint directory, its `model` directory) for a path given by a person.

    The path may be a run directory, its `checkpoints`, one numbered checkpoint, or a bare one.

    Raises:
      CheckpointError: none is there; the message says where was looked.
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such directory")
    checkpoint = path if (path / PARAMS).is_dir() else _newest(path)
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


def _newest(path: pathlib.Path) -> pathlib.Path | None:
    for root in (path, path / "checkpoints"):
        numbered = [e for e in root.glob("*") if e.name.isdigit() and (e / PARAMS).is_dir()]
        if numbered:
            return max(numbered, key=lambda entry: int(entry.name))
    return None


def copy_model_files(source: str | pathlib.Path, target: str | pathlib.Path) -> None:
    """Copies config, tokenizer and generation config, as they are, to `target`."""
    source, target = pathlib.Path(source), pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    for name in _SIDE_FILES:
        if (source / name).is_file() and source != target:
            shutil.copyfile(source / name, target / name)
