"""SACPO: DPO on one group of dimensions after another, each from the policy before.

    python -m dignified_jax.train --config=sacpo              # tiny, on 2 CPU cores
    python -m dignified_jax.train --config=sacpo:qwen3-4b

The stages are runs of their own under WORKDIR/stages; the export and the final table lie in
WORKDIR. --config.method.last_share=0.5 averages the last two policies (P-SACPO).

Learning rate, epochs and batch are those of configs/lagdpo.py, so that methods can be compared.
"""

import ml_collections

from dignified_jax.training import config as training_config
from dignified_jax.training import presets


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
    config = training_config.config_dict("sacpo")
    presets.apply(config, preset, "sacpo")
    config.optimizer.learning_rate = 2e-4 if preset == "tiny" else 5e-7
    return config
