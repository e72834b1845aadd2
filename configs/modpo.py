"""MODPO: DPO on every dimension, with the other dimensions' rewards as margins.

    python -m dignified_jax.train --config=modpo              # tiny, on 2 CPU cores
    python -m dignified_jax.train --config=modpo:qwen3-4b

Without config.reward_policies the four policies whose rewards it needs are trained first, each on
one dimension, under WORKDIR/stages.

Learning rate, epochs and batch are those of configs/lagdpo.py, so that methods can be compared.
"""

import ml_collections

from dignified_jax.training import config as training_config
from dignified_jax.training import presets


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
    config = training_config.config_dict("modpo")
    presets.apply(config, preset, "modpo")
    config.optimizer.learning_rate = 2e-4 if preset == "tiny" else 5e-7
    config.reference = "cached"  # the rewards are log-ratios to it
    return config
