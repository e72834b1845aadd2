r"""SFT-Anchor: supervised fine-tuning on public sets of single dimensions, no preference row.

    python -m dignified_jax.train --config=sft_anchor \
        --config.data.anchors="('sycophancy:evals.jsonl', 'truthfulqa:TruthfulQA.csv', \
        'empathetic_dialogues:train.csv', 'writing_prompts:train.wp_source')"

The sets are not part of the package: give their files, in their publishers' formats.
"""

import ml_collections

from dignified_jax.data import ANCHOR_KINDS
from dignified_jax.training import config as training_config
from dignified_jax.training import presets
from dignified_jax.training.config import PUBLISHED_TESTS


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
    config = training_config.config_dict("sft")
    presets.apply(config, preset, "sft_anchor")
    config.data.test = PUBLISHED_TESTS[config.data.train]
    config.data.train = ""
    # To be given: what is here is refused.
    config.data.anchors = tuple(f"{kind}:" for kind in ANCHOR_KINDS)
    config.optimizer.learning_rate = 1e-4 if preset == "tiny" else 1e-5
    return config
