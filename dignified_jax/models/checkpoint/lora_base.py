"""Names the base of a run directory's LoRA checkpoints, in a file beside the model's others."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from dignified_jax.console.waiting import Waiting, silent
from dignified_jax.embedded import resolve
from dignified_jax.files import atomic
from dignified_jax.models import hf
from dignified_jax.models.checkpoint.params_checkpoint import CheckpointError
from dignified_jax.models.lora import LoraConfig

FILE = "lora.json"


@dataclasses.dataclass(frozen=True)
class LoraBase:
    """LoRA of a base.

    Attributes:
      lora: rank, scale and targets.
      base: hub id or absolute directory of the frozen weights.
      digest: of those weights.
    """

    lora: LoraConfig
    base: str
    digest: str


def base_name(path: str) -> str:
    """Where `model.path` is found again: a hub id as it is, anything else as absolute directory."""
    directory = pathlib.Path(resolve(path))
    return str(directory.absolute()) if directory.is_dir() else path


def write(side: pathlib.Path, record: LoraBase) -> None:
    """Writes the record into a `model` directory."""
    text = json.dumps(dataclasses.asdict(record), indent=2) + "\n"
    atomic.write_text(side / FILE, text)


def read(side: pathlib.Path) -> LoraBase | None:
    """The record in a `model` directory; None where checkpoints hold whole models.

    Raises:
      CheckpointError: the file is damaged.
    """
    file = side / FILE
    if not file.is_file():
        return None
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        lora = fields.pop("lora")
        record = LoraBase(lora=LoraConfig(**lora | {"targets": tuple(lora["targets"])}), **fields)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{file}: expected rank, scale and targets under lora, base and digest, found "
            f"{file.read_bytes()[:60]!r}"
        ) from error
    for name in ("base", "digest"):
        if not isinstance(getattr(record, name), str):
            raise CheckpointError(f"{file}: {name} must be a string, found {fields[name]!r}")
    return record


def find_base(record: LoraBase, given: str | None = None, show: Waiting = silent) -> pathlib.Path:
    """The directory of the base, at its recorded place or the one given.

    Args:
      record: of LoRA.
      given: that place.
      show: shows what is waited for.

    Raises:
      CheckpointError: it is not there, or has other weights than those that LoRA was trained on.
    """
    where = given or record.base
    try:
        directory = hf.resolve(resolve(where))
        with show(f"checking {where}", share=True) as count:
            found = hf.digest(directory, count)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"LoRA's base {record.base} is needed: {error}; say where it is with --base"
        ) from error
    if found != record.digest:
        raise CheckpointError(
            f"{where} is not the base that LoRA was trained on: its weights are {found}, expected "
            f"{record.digest} ({record.base} when training began); say where that is with --base"
        )
    return directory
