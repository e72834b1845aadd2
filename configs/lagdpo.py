"""Lag-DPO: DPO with one Lagrange multiplier per persona dimension.

    python -m dignified_jax.train --config=lagdpo              # tiny, on 2 CPU cores
    python -m dignified_jax.train --config=lagdpo:qwen3-4b
    python -m dignified_jax.train --config=lagdpo:llama3-8b

tiny: 27 steps, 5 minutes on 2 virtual CPU cores, one of them busy (jax 0.10.2); held-out accuracy
A 0.71, T 0.92, E 0.62, C 0.89, lambda up to 0.57. The other presets are the paper's models with
a usual DPO learning rate; they have not been run yet.

Batch 16, 3 epochs and tolerance 0.5 are the paper's; its beta is not known, 0.1 is DPO's usual.
Tolerances are adaptive, which the paper's are not; these are its duals:

    --config.method.schedule.name=constant --config.method.controller.rate=0.1

Any field can be overridden: --config.method.epsilon=0.4 (all dimensions) or
--config.method.epsilon="(0.5, 0.5, 0.4, 0.5)" (A, T, E, C). Also beyond the paper, `LagDPO` has
other controllers of lambda (method.controller) and other signals (method.signal).
"""

import ml_collections

from dignified_jax.training import config as training_config
from dignified_jax.training import presets


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
    config = training_config.config_dict("lagdpo")
    presets.apply(config, preset, "lagdpo")
    config.optimizer.learning_rate = 2e-4 if preset == "tiny" else 5e-7
    # Lambda adds up over the steps: tens of them here, many hundreds there.
    config.method.controller.rate = 1.0 if preset == "tiny" else 0.1
    return config
