"""Preference rows by models behind endpoints, out of the embedded rows as seeds.

    LOCAL_BASE_URL=http://localhost:8000/v1 LOCAL_API_KEY=none \\
        python -m dignified_jax.construct --config=construct        # a server of your own

    python -m dignified_jax.construct --config=construct:paper \\
        --config.anchors="('A=sycophancy:evals.jsonl', 'T=truthfulqa:TruthfulQA.csv', \\
        'E=empathetic_dialogues:train.csv', 'C=writing_prompts:train.wp_source')"

local: 50 rows by one model of an OpenAI-compatible server, which verifies its own work; name it by
--config.providers=openai-api/local/NAME --config.verifier.model=openai-api/local/NAME. paper: 1,700
rows by the paper's three providers and its verifier, which is what its review began with; it
has not been run here. Both begin with the embedded rows as seeds; anchor sets are better ones.
"""

import ml_collections

from dignified_jax import typed_config
from dignified_jax.construction.config import ConstructionConfig

_LOCAL = "openai-api/local/model"
_EMBEDDED = "embedded:personaknob_mini"


def get_config(preset: str = "local") -> ml_collections.ConfigDict:
    if preset not in ("local", "paper"):
        raise ValueError(f"unknown preset {preset!r}; expected local or paper")
    config = typed_config.defaults(ConstructionConfig)
    config.anchors = tuple(f"{name}={_EMBEDDED}/train.jsonl" for name in "ATEC")
    config.test = (f"{_EMBEDDED}/test.jsonl",)
    if preset == "local":
        config.workdir = "runs/construct-local"
        config.rows = 50
        config.providers = (_LOCAL,)
        config.verifier.model = _LOCAL
        return config
    config.workdir = "runs/construct-paper"
    config.rows = 1700
    config.providers = (
        "openai/gpt-5.1",
        "google/gemini-2.5-pro",
        "anthropic/claude-sonnet-4-6",
    )
    config.verifier.model = "openai/gpt-4.1-nano"
    return config
