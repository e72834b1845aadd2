"""SafeRLHF in DPO form: Peer (E, C) is the objective, Dignity (A, T) is constrained.

    python -m dignified_jax.train --config=safe_rlhf              # tiny, on 2 CPU cores
    python -m dignified_jax.train --config=safe_rlhf:qwen3-4b

Learning rate, epochs and batch are those of configs/lagdpo.py, so that methods can be compared.
"""

import ml_collections

from dignified_jax.training import config as training_config
from dignified_jax.training import presets


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
    config = training_config.config_dict("safe_rlhf")
    presets.apply(config, preset, "safe_rlhf")
    config.optimizer.learning_rate = 2e-4 if preset == "tiny" else 5e-7
    return config
