"""Supervised fine-tuning on the golden responses.

    python -m dignified_jax.train --config=sft                 # tiny, on 2 CPU cores
    python -m dignified_jax.train --config=sft:scratch         # made the embedded model

`scratch` draws random weights and trains them on every reply of the embedded sample's training
rows, golden or not, so that the model has no preference yet; dignified_jax/embedded/README.md has
the commands.
"""

import ml_collections

from dignified_jax.training import config as training_config
from dignified_jax.training import presets


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
    config = training_config.config_dict("sft")
    presets.apply(config, "tiny" if preset == "scratch" else preset, "sft")
    config.optimizer.learning_rate = 1e-4 if preset == "tiny" else 1e-5
    if preset == "scratch":
        config.workdir = "runs/sft-scratch"
        config.method.responses = "all"
        config.model.init = "random"
        config.model.export_dtype = "bfloat16"
        config.optimizer.learning_rate = 3e-3
        config.optimizer.weight_decay = 0.1
        config.epochs = 12
    return config
