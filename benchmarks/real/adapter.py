"""LoRA of the upper layers, in the run directory, as a PEFT adapter of the whole model.

The lower layers' matrices are 0 in it: they stay the base's. So the run directory is a policy
that the package loads as any other. Runs of earlier versions left the upper layers' matrices alone.
"""

from __future__ import annotations

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from benchmarks.real.entries import RunId, Setting
from dignified_jax.embedded import resolve
from dignified_jax.models import hf
from dignified_jax.models.checkpoint import lora_base
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Params
from dignified_jax.models.hf import peft, peft_reader
from dignified_jax.models.hf.config import is_wrapped, read_config
from dignified_jax.models.lora import LoraConfig

FORMER_FILE = "lora.npz"


def save(setting: Setting, run: RunId, upper: Params) -> None:
    """Writes the adapter into a run's directory.

    Args:
      setting: whose model is the adapter's base.
      run: that trained it.
      upper: LoRA's tree, leaves (upper layer, in, out).
    """
    base, config = _base(setting)
    lower = config.num_layers - setting.upper_layers
    whole = jax.tree.map(lambda leaf: jnp.pad(leaf, ((lower, 0), (0, 0), (0, 0))), upper)
    peft.save_adapter(
        run.directory(setting.out),
        config,
        LoraConfig(rank=setting.rank),
        whole,
        lora_base.base_name(setting.model),
        wrapped=is_wrapped(base),
    )


def load(setting: Setting, run: RunId) -> Params:
    """Returns LoRA's tree of the upper layers alone, as `save` takes it."""
    complete(setting, run)
    _, config = _base(setting)
    _, whole = peft_reader.load_adapter(run.directory(setting.out), config)
    return jax.tree.map(lambda leaf: leaf[config.num_layers - setting.upper_layers :], whole)


def complete(setting: Setting, run: RunId) -> None:
    """Writes the adapter of a finished run that has its upper layers' matrices alone."""
    directory = run.directory(setting.out)
    if (directory / peft.WEIGHTS_FILE).is_file():  # the last file that is written
        return
    with np.load(directory / FORMER_FILE) as file:
        leaves = {name: jnp.asarray(leaf) for name, leaf in file.items()}
    save(setting, run, traverse_util.unflatten_dict(leaves, sep="/"))


def _base(setting: Setting) -> tuple[pathlib.Path, DecoderConfig]:
    directory = hf.resolve(resolve(setting.model))
    return directory, read_config(directory)
