"""Models to evaluate or to judge with, by whatever path a person has."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dignified_jax.console.waiting import ShowCount, Waiting, waiting
from dignified_jax.data.template import ChatTemplate, load_template
from dignified_jax.data.tokenizer import Tokenizer, load_tokenizer
from dignified_jax.embedded import resolve
from dignified_jax.files import json_digest
from dignified_jax.generation.sources import generation_stops, run_template_kwargs
from dignified_jax.models import hf
from dignified_jax.models.checkpoint import lora_base, params_checkpoint, policy
from dignified_jax.models.decoder import Decoder, Params
from dignified_jax.models.hf import peft, peft_reader
from dignified_jax.models.lora import LoraParams

_DESCRIBING = (*params_checkpoint.SIDE_FILES, peft.CONFIG_FILE, lora_base.FILE)
"""Files beside weights, on which responses and judgments depend as much."""


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model with its tokenizer.

    Attributes:
      name: label.
      digest: of its weights, and of the files that say how they are used.
      module: the decoder.
      params: its parameter tree, or that of a base and of LoRA.
      tokenizer: with a chat template.
      stops: tokens that end a response by its generation_config.json.
      template_kwargs: arguments for the chat template; of a run those that it was trained with,
        unless others were given.
      path: by which `load` found it.
      day: that a chat template which prints the date is told; None for today.
    """

    name: str
    digest: str
    module: Decoder
    params: Params | LoraParams
    tokenizer: Tokenizer
    stops: tuple[int, ...] = ()
    template_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    path: str = ""
    day: datetime.date | None = None

    def template(self) -> ChatTemplate:
        """Returns the chat template.

        Raises:
          ValueError: there is none, or it can't be used.
        """
        now = self.day and datetime.datetime.combine(self.day, datetime.time())
        return load_template(self.tokenizer, self.template_kwargs, now=now)


def load(
    name: str,
    path: str,
    dtype: str = "float32",
    show: Waiting = waiting,
    template_kwargs: Mapping[str, Any] | None = None,
    day: datetime.date | None = None,
) -> LoadedModel:
    """Loads a model on the default device.

    Args:
      name: label.
      path: a Hugging Face directory, hub id or embedded:NAME; a run directory (its newest
        checkpoint), a numbered checkpoint, or a bare one, of a whole model or of LoRA; or a PEFT
        adapter.
      dtype: of parameters and computation.
      show: shows what is waited for.
      template_kwargs: arguments for the chat template; None for a run's own.
      day: that a template which prints the date is told; None for today.

    Raises:
      CheckpointError, FileNotFoundError, ValueError: there is none, or it can't be read.
    """
    found = policy.load(path, dtype, show=show)
    return LoadedModel(
        name,
        digest(path, show, template_kwargs),
        found.model,
        found.params,
        load_tokenizer(found.directory),
        generation_stops(found.generation),
        _kwargs(template_kwargs, found.directory),
        path,
        day,
    )


def digest(
    path: str, show: Waiting = waiting, template_kwargs: Mapping[str, Any] | None = None
) -> str:
    """Returns `LoadedModel.digest` without loading the model.

    Args:
      path: as `load` takes it.
      show: shows what is waited for.
      template_kwargs: as `load` takes them.
    """
    weigh, *directories = _find(path)
    files = [
        [name, hashlib.sha256((directory / name).read_bytes()).hexdigest()]
        for directory in directories
        for name in _DESCRIBING
        if (directory / name).is_file()
    ]
    with show(f"taking the digest of {path}", share=True) as count:
        weights = weigh(count)
    return json_digest.digest([weights, _kwargs(template_kwargs, directories[0]), *files])


def tokenizer(path: str) -> Tokenizer:
    """Returns `LoadedModel.tokenizer` without loading the model."""
    return load_tokenizer(_find(path)[1])


@contextlib.contextmanager
def named(who: str) -> Iterator[None]:
    """Says whose model it is that is missing or can't be read.

    Raises:
      ValueError: the error inside, with `who` before it.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        raise ValueError(f"{who}: {error}") from error


def _kwargs(given: Mapping[str, Any] | None, directory: pathlib.Path) -> dict[str, Any]:
    """The arguments given for a chat template, or those of the run whose files a directory has."""
    return run_template_kwargs(directory) if given is None else dict(given)


def _find(path: str) -> tuple[Callable[[ShowCount], str], pathlib.Path, *tuple[pathlib.Path, ...]]:
    """A function that digests the weights, the directory of the tokenizer, others that matter."""
    directory = policy.here(path)
    if (directory / peft.CONFIG_FILE).is_file():
        base = hf.resolve(resolve(peft_reader.read_base(directory)))
        first, second = (directory, base) if policy.has_vocabulary(directory) else (base, directory)
        return functools.partial(_of_adapter, directory, base), first, second
    is_run = (directory / params_checkpoint.PARAMS).is_dir()
    if not (is_run or params_checkpoint.newest_in(directory)):
        return functools.partial(hf.digest, directory), directory
    checkpoint, side = params_checkpoint.find(directory)
    return lambda count: _of_checkpoint(checkpoint, side), side


def _of_adapter(directory: pathlib.Path, base: pathlib.Path, count: ShowCount) -> str:
    own = (directory / peft.WEIGHTS_FILE).read_bytes()
    return hashlib.sha256(hf.digest(base, count).encode() + own).hexdigest()[:16]


def _of_checkpoint(checkpoint: pathlib.Path, side: pathlib.Path) -> str:
    checksum = params_checkpoint.read_checksum(checkpoint)[params_checkpoint.PARAMS]
    record = lora_base.read(side)
    return checksum if record is None else json_digest.digest([record.digest, checksum])
