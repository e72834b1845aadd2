"""The methods that are compared, and how one run of them is configured."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import jax

from benchmarks.real.rows import Conflict, Sizes
from dignified_jax.training import config as training_config
from dignified_jax.training.config import TrainConfig

LAGDPO, AVERAGE = "lagdpo", "average"
PLAIN, CONFLICT = "plain", "conflict"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A method of the comparison.

    Attributes:
      title: for a reader.
      method: fields of its section.
      cost: of a step, with that of one backward pass as the unit.
      weight: how much a contrast of Lag-DPO with it tells.
    """

    title: str
    method: dict[str, Any]
    cost: float = 1.0
    weight: float = 0.4


ENTRIES: dict[str, Entry] = {
    LAGDPO: Entry(
        "Lag-DPO, normalized duals",
        {"name": "lagdpo", "controller": {"name": "normalized"}},
        weight=0.0,
    ),
    AVERAGE: Entry("average of dimensions", {"name": "multi_negative"}, weight=1.0),
    "default": Entry("Lag-DPO, rate 1 a step", {"name": "lagdpo"}, weight=0.5),
    "paper": Entry(
        "Lag-DPO, the paper's duals",
        {"name": "lagdpo", "schedule": "constant", "controller": {"name": "ascent", "rate": 0.1}},
        weight=0.5,
    ),
    "slow": Entry(
        "Lag-DPO, rate 8 a run",
        {"name": "lagdpo", "controller": {"name": "paced", "rate": 8.0}},
        weight=0.5,
    ),
    "pairs": Entry("average of pairs", {"name": "multi_negative", "average": "pair"}),
    "safe_rlhf": Entry("SafeRLHF", {"name": "safe_rlhf"}),
    "sft": Entry("SFT", {"name": "sft"}, cost=0.6, weight=0.2),
    "pcgrad": Entry("PCGrad", {"name": "pcgrad"}, cost=4.0),
}
"""By name. Lag-DPO is the one that the others are compared with."""

SCORED_BATCH = 32  # rows: the more are packed together, the fewer tokens are padding
WORLDS: dict[str, float] = {CONFLICT: 1.0, PLAIN: 0.5}
"""The two sets of rows, and how much a contrast on them tells."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all runs share.

    Attributes:
      model: directory of the model, or "embedded:NAME".
      out: directory of everything.
      sizes: of rows.
      conflict: between dimensions, on the rows of CONFLICT.
      steps, batch_size: of each run.
      rank: of LoRA.
      upper_layers: how many have LoRA, the lower ones' states being kept; None for all.
    """

    model: str
    out: pathlib.Path
    sizes: Sizes
    conflict: Conflict = dataclasses.field(default_factory=Conflict)
    steps: int = 64
    batch_size: int = 16
    rank: int = 16
    upper_layers: int | None = None


@dataclasses.dataclass(frozen=True)
class RunId:
    """A training run: rows, method, learning rate, seed."""

    world: str
    method: str
    rate: float
    seed: int

    @property
    def label(self) -> str:
        """The run's name for a person."""
        return f"{self.world}, {self.method}, rate {self.rate:g}, seed {self.seed}"

    def directory(self, out: pathlib.Path) -> pathlib.Path:
        """Returns its run directory."""
        rate = f"rate_{self.rate:g}".replace(".", "p")
        return out / "runs" / self.world / self.method / rate / f"seed_{self.seed}"


def rows_file(setting: Setting, world: str, split: str) -> pathlib.Path:
    """Returns the file of a split."""
    return setting.out / "data" / world / f"{split}.jsonl"


def train_config(setting: Setting, run: RunId) -> TrainConfig:
    """Returns the configuration of a run; its final table is of the validation rows."""
    train = rows_file(setting, run.world, "train")
    with train.open(encoding="utf-8") as lines:
        count = sum(1 for _ in lines)
    method = ENTRIES[run.method].method
    fields = _common(setting) | {
        "method": method,
        "workdir": str(run.directory(setting.out)),
        "seed": run.seed,
        "epochs": -(-setting.steps * setting.batch_size // count),
        "max_steps": setting.steps,
        "checkpoint_every": max(setting.steps // 4, 1),
        "checkpoints_to_keep": 1,
        "lora": {"rank": setting.rank},
        "optimizer": {"learning_rate": run.rate},
    }
    fields["data"] |= {
        "train": str(train),
        "test": str(rows_file(setting, run.world, "validation")),
    }
    if method["name"] != "sft":  # it has no reference
        fields |= {
            "reference": "cached",
            "reference_cache": str(setting.out / "reference" / run.world),
        }
    return training_config.parse(fields)


def scorer_config(setting: Setting) -> TrainConfig:
    """Returns a configuration with the test rows without a conflict, which trains nothing."""
    rows = str(rows_file(setting, PLAIN, "test"))
    fields = _common(setting) | {
        "method": {"name": "multi_negative"},
        "workdir": str(setting.out / "judge"),
        "batch_size": SCORED_BATCH,
    }
    fields["data"] |= {"train": rows, "test": rows}
    return training_config.parse(fields)


def _common(setting: Setting) -> dict[str, Any]:
    on_cpu = jax.default_backend() == "cpu"
    return {
        "batch_size": setting.batch_size,
        "rows_per_device": 1 if on_cpu else 4,
        "compilation_cache": str(setting.out / "compilation_cache"),
        "data": {
            "validation_fraction": 0.0,
            "max_length": setting.sizes.max_length,
            "row_length": setting.sizes.row_length,
            "on_too_long": "drop",
            "cache": str(setting.out / "tokens"),
        },
        "model": {
            "path": setting.model,
            # CPUs have no fast products of bfloat16; nothing is short of memory at this size.
            "compute_dtype": "float32" if on_cpu else "bfloat16",
            "remat": "none" if on_cpu else "full",
        },
    }
