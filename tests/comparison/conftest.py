"""What tests of comparisons share."""

import importlib.util
import pathlib

import pytest

from dignified_jax.comparison import plan, results

FILE = pathlib.Path(__file__).parents[2] / "configs" / "compare.py"


@pytest.fixture(scope="session")
def get_config():
    """`get_config` of configs/compare.py."""
    spec = importlib.util.spec_from_file_location("configs_compare", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config


@pytest.fixture
def comparison(get_config, tmp_path):
    """Two methods with two seeds."""
    config = get_config()
    config.workdir = str(tmp_path / "work")
    config.methods = ("lagdpo", "soup")
    config.seeds = (3, 5)
    return plan.parse(config)


def score(accuracy, loss=(0.5, 0.5), kl=0.1, beta=0.1, longer=(0.5, 0.6)):
    """A score of the dimensions A and E."""
    rows = {
        k: {"pairs": 10 + i, "loss": loss[i], "accuracy": accuracy[i], "margin": 2 * accuracy[i]}
        | {"longer": longer[i]}
        for i, k in enumerate("AE")
    }
    inputs = {"test rows": "r", "model weights": "w"}
    return {"beta": beta, "inputs": inputs, "kl": kl, "tokens": 7, "dimensions": rows}


@pytest.fixture
def made_up():
    """Three seeds of two methods, with round figures."""
    table = {
        "lagdpo": [((0.8, 0.7), 0.1), ((0.6, 0.9), 0.2), ((0.7, 0.8), 0.3)],
        "soup": [((0.5, 0.9), 0.1), ((0.5, 0.9), 0.1), ((0.6, 0.9), 0.4)],
    }
    return results.summarise(
        [
            results.ScoredRun(name, seed, score(accuracy, kl=kl))
            for name, runs in table.items()
            for seed, (accuracy, kl) in enumerate(runs)
        ],
        "lagdpo",
    )
