"""Rewarded soup: the mean of the parameters of four policies, one trained on each dimension.

    python -m dignified_jax.train --config=soup              # tiny, on 2 CPU cores
    python -m dignified_jax.train --config=soup:qwen3-4b

The four policies are runs of their own under WORKDIR/stages; the export and the final table lie
in WORKDIR.

Learning rate, epochs and batch are those of configs/lagdpo.py, so that methods can be compared.
"""

import ml_collections

from dignified_jax.training import config as training_config
from dignified_jax.training import presets


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
    config = training_config.config_dict("soup")
    presets.apply(config, preset, "soup")
    config.optimizer.learning_rate = 2e-4 if preset == "tiny" else 5e-7
    return config
