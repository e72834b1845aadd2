r"""All methods from one checkpoint, on the same data, with the same batches and epochs.

    python -m dignified_jax.compare --config=compare                 # tiny
    python -m dignified_jax.compare --config=compare:qwen3-4b
    python -m dignified_jax.compare --config=compare:ablation        # tiny, Lag-DPO
    python -m dignified_jax.compare --config=compare:ablation-qwen3-4b

    --config.methods="('lagdpo', 'multi_negative')" --config.seeds="(0, 1, 2, 3, 4)"
    --config.base.data.train=train.jsonl            # of all runs
    --config.entries.lagdpo.method.epsilon=0.4      # of one method

`base` is configs/lagdpo.py; an entry is the method of another file, and what else that file sets
otherwise (the learning rate of sft, the cached reference of modpo); the report lists it.
`ablation` is a grid of Lag-DPO's tolerance, held constant, and dual rate, with multi-negative DPO
beside it.

tiny: 24 runs. A run of soup trains four policies, which modpo's takes its rewards from when it
comes after; a run of sacpo trains two: 36 trainings of 27 steps or fewer (single dimensions have
fewer rows), each as long as configs/lagdpo.py says. The whole has not been run yet. A comparison
that was stopped goes on.
"""

import importlib.util
import pathlib

import ml_collections

from dignified_jax.comparison import plan

FILES = (
    *("lagdpo", "multi_negative", "pcgrad", "safe_rlhf", "sacpo", "soup", "modpo", "sft"),
    *("sft_anchor", "sft_combined"),
)
NEED_FILES = ("sft_anchor", "sft_combined")  # the anchor sets; add them to config.methods
EPSILONS = (0.3, 0.5, 0.6)
DUAL_RATES = (0.01, 0.1, 1.0)


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
    ablation = preset.startswith("ablation")
    size = preset.removeprefix("ablation").removeprefix("-") or "tiny"
    entries = _grid(size) if ablation else {name: _file(name, size) for name in FILES}
    config = plan.config_dict(_file("lagdpo", size), entries)
    config.workdir = f"runs/compare-{preset}"
    config.methods = tuple(name for name in entries if name not in NEED_FILES)
    config.against = _grid_name(0.5, 0.1) if ablation else "lagdpo"
    # Policies are scored by what is exported, which should be what was trained.
    config.base.model.export_dtype = config.base.model.param_dtype
    config.base.checkpoints_to_keep = 1
    return config


def _file(name: str, preset: str) -> ml_collections.ConfigDict:
    path = pathlib.Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"configs_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(preset)


def _grid(preset: str) -> dict[str, ml_collections.ConfigDict]:
    entries = {}
    for epsilon in EPSILONS:
        for rate in DUAL_RATES:
            config = _file("lagdpo", preset)
            config.method.epsilon = (epsilon,)
            config.method.schedule.name = "constant"
            config.method.controller.rate = rate
            entries[_grid_name(epsilon, rate)] = config
    return entries | {"multi_negative": _file("multi_negative", preset)}


def _grid_name(epsilon: float, rate: float) -> str:
    return f"eps{epsilon:g}_rate{rate:g}".replace(".", "p")
