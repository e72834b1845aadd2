"""Multi-negative DPO, the average of the per-dimension losses: Lag-DPO with every lambda at 0.

python -m dignified_jax.train --config=multi_negative      # tiny, on 2 CPU cores

DPO on a single dimension, here T: --config.method.weights="(0, 1, 0, 0)" (A, T, E, C).
"""

import ml_collections

from dignified_jax.training import config as training_config
from dignified_jax.training import presets


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
    config = training_config.config_dict("multi_negative")
    presets.apply(config, preset, "multi_negative")
    config.optimizer.learning_rate = 2e-4 if preset == "tiny" else 5e-7
    return config
