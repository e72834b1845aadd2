"""The exports at the end of a run: Hugging Face weights, and with LoRA an adapter as well."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax

from dignified_jax.models import hf
from dignified_jax.models.hf import peft
from dignified_jax.training.run import lora_base
from dignified_jax.training.run_context import RunContext

DIRECTORY = "export"
ADAPTER_DIRECTORY = "export_adapter"


def export(context: RunContext, params: Any) -> list[pathlib.Path]:
    """Writes a policy into the run directory; what was written.

    Args:
      context: the run's.
      params: its trained tree; LoRA is merged into the base's files.
    """
    model, config, tokenizer = context.model, context.config, context.data.tokenizer
    generation = model.directory / "generation_config.json"
    options = {
        "dtype": model.export_dtype,
        "generation_config": generation if generation.is_file() else None,
    }
    directories = [context.workdir / DIRECTORY]
    with _whole(directories[0]) as partial:
        if model.base is None:
            hf.save(partial, model.module, params, tokenizer, **options)
        else:
            peft.save_merged(partial, model.directory, config.lora, params, tokenizer, **options)
    if model.base is not None:
        directories.append(context.workdir / ADAPTER_DIRECTORY)
        base = lora_base.base_name(config.model.path)
        with _whole(directories[1]) as partial:
            peft.save_adapter(partial, model.module.config, config.lora, params, base)
    return directories


@contextlib.contextmanager
def _whole(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """A directory to write to; under the final name there is a whole export or none."""
    partial = target.with_name(target.name + ".partial")
    yield partial
    if jax.process_index() == 0:
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
