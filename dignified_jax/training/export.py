"""The exports at the end of a run: Hugging Face weights, and with LoRA an adapter as well."""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Iterator

import jax
from jaxtyping import PyTree

from dignified_jax.console.waiting import ShowCount
from dignified_jax.files import owned
from dignified_jax.files.model_directory import locate
from dignified_jax.models import hf
from dignified_jax.models.checkpoint import lora_base, params_checkpoint
from dignified_jax.models.hf import names, peft
from dignified_jax.models.hf.config import is_wrapped
from dignified_jax.training.inputs.text_encoder import end_of_turn
from dignified_jax.training.run_context import RunContext

DIRECTORY = "export"
ADAPTER_DIRECTORY = "export_adapter"
_FILES = {
    *("config.json", "generation_config.json", *params_checkpoint.TOKENIZER_FILES),
    *(names.SINGLE_FILE, names.INDEX_FILE, peft.WEIGHTS_FILE, peft.CONFIG_FILE),
}


def export(context: RunContext, params: PyTree, progress: ShowCount) -> list[pathlib.Path]:
    """Writes a policy into the run directory; what was written.

    Args:
      context: the run's.
      params: its trained tree; LoRA is merged into the base's files.
      progress: as of `hf.save`.
    """
    model, config, tokenizer = context.model, context.config, context.data.tokenizer
    options = {
        "dtype": model.export_dtype,
        "generation_config": locate(model.directory, "generation_config.json"),
        "progress": progress,
    }
    directories = [context.workdir / DIRECTORY]
    with _writing(directories[0]) as partial:
        if model.base is None:
            hf.save(partial, model.module, params, tokenizer, **options)
        else:
            peft.save_merged(partial, model.directory, config.lora, params, tokenizer, **options)
        if jax.process_index() == 0:
            hf.add_end_of_turn(partial, tokenizer, end_of_turn(config, tokenizer))
    if model.base is not None:
        directories.append(context.workdir / ADAPTER_DIRECTORY)
        base = lora_base.base_name(config.model.path)
        with _writing(directories[1]) as partial:
            wrapped = is_wrapped(model.directory)
            arguments = (partial, model.module.config, config.lora, params, base, tokenizer)
            peft.save_adapter(*arguments, wrapped=wrapped)
            if jax.process_index() == 0:
                hf.add_end_of_turn(partial, tokenizer, end_of_turn(config, tokenizer))
    return directories


@contextlib.contextmanager
def _writing(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """A directory to write to; under the final name there is a whole export or none.

    What an earlier end of this run exported is replaced, and no file of others.
    """
    if jax.process_index() > 0:
        yield target  # only the first process writes
        return
    with owned.writing(target, overwrite=True, ours=_exported) as partial:
        yield partial


def _exported(name: str) -> bool:
    """Returns whether an export has such a file; those of earlier versions have no manifest."""
    return name in _FILES or re.fullmatch(r"model-\d{5}-of-\d{5}\.safetensors", name) is not None
