"""The tiny model before and after Lag-DPO, on the embedded prompts, judged by rules.

    python -m dignified_jax.evaluate --config=configs/evaluate.py

It shows the whole way, offline and in minutes. The model is too small to chat and the judges are
word lists: the report says so, and its scores say nothing else. For models and judges of your own:

    --config=evaluate:models
    --config.models="('before=path/to/model', 'after=runs/lagdpo')"
    --config.prompts=prompts.jsonl                     # {"id", "prompt"}, or preference rows
    --config.judging.judges="('openai/gpt-4.1', 'anthropic/claude-sonnet-4-5')"

    --config=evaluate:ratings --config.ratings=ratings.csv     # scores and report alone

"after" is the run of `python -m dignified_jax.train --config=lagdpo` where that is finished; if it
is not, six steps are trained here.
"""

import ml_collections

from dignified_jax import typed_config
from dignified_jax.evaluation.config import EvaluationConfig


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
    if preset not in ("tiny", "models", "ratings"):
        raise ValueError(f"unknown preset {preset!r}; expected tiny, models or ratings")
    config = typed_config.defaults(EvaluationConfig)
    if preset != "tiny":
        config.workdir = f"runs/{'ratings' if preset == 'ratings' else 'evaluate'}"
        return config
    config.workdir = "runs/evaluate-tiny"
    config.models = ("before=embedded:tiny-qwen3", "after=train:lagdpo")
    config.generation.max_new_tokens = 96
    config.generation.temperature = 0.7
    # So small a model, judged by rules, has items with nothing but 1s or 0s.
    config.scoring.method = "ridge"
    return config
