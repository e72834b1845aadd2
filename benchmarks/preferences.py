r"""All methods on real preference rows, tuned alike, with the tiny model.

    python -m benchmarks.preferences train.jsonl test.jsonl --out runs/preferences

The files are pooled: rows that fit into a few hundred tokens, split by prompt anew
(`preferences_data`). One policy is fine-tuned on every reply of rows that nothing else uses; all
methods start from it. Each has one trial with each learning rate, and the one with the best worst
dimension on validation rows is trained with every seed and judged on the test rows, which nothing
has read before; of a single rate there are no trials. OUT/final/report has the tables; stopped, the
same command goes on.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections

from benchmarks import preferences_data
from dignified_jax.comparison import plan, report, results
from dignified_jax.comparison import runs as comparison
from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.embedded import resolve
from dignified_jax.files import atomic
from dignified_jax.training import config as training_config
from dignified_jax.training import export, stages

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
MODEL = "embedded:tiny-qwen3"
TUNING_SEED = 100
# Entry -> (file in configs/, changes of the method).
ENTRIES: dict[str, tuple[str, dict[str, Any]]] = {
    "lagdpo": ("lagdpo", {}),
    "lagdpo_paper": (
        "lagdpo",
        {"schedule": "constant", "controller": {"name": "ascent", "rate": 0.1}},
    ),
    "multi_negative": ("multi_negative", {}),
    "multi_negative_pairs": ("multi_negative", {"average": "pair"}),
    "pcgrad": ("pcgrad", {}),
    "safe_rlhf": ("safe_rlhf", {}),
    "sacpo": ("sacpo", {}),
    "soup": ("soup", {}),
    "modpo": ("modpo", {}),  # after soup, whose policies it takes
    "sft": ("sft", {}),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Goes on where it was stopped."""
    options = _options(arguments)
    notify = functools.partial(print, flush=True)
    tokenizer = load_tokenizer(resolve(MODEL))
    sizes = preferences_data.Sizes(train=options.rows)
    counts = preferences_data.write(options.files, tokenizer, options.out / "data", sizes)
    notify(f"rows: {json.dumps(counts)}")
    base = _base(options.out)
    if len(options.rates) > 1:
        chosen = _tune(options, base, notify)
    else:
        chosen = dict.fromkeys(options.methods, options.rates[0])
    final = _comparison(options, base, "final", "test", options.seeds)
    for name, rate in chosen.items():
        final.entries[name] = _entry(name, rate)
    final.methods = tuple(chosen)
    final.against = "lagdpo" if "lagdpo" in chosen else final.methods[0]
    found, directory = comparison.run(plan.parse(final), notify)
    notify(f"learning rates chosen: {json.dumps(chosen)}")
    notify(f"\n{report.summary(found)}\n\nreport: {directory}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", help="preference rows, pooled")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--rows", type=int, default=1024, help="of training")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-4, 6e-4])
    parser.add_argument("--methods", nargs="+", choices=ENTRIES, default=list(ENTRIES))
    return parser.parse_args(arguments)


def _base(out: pathlib.Path) -> pathlib.Path:
    """The policy that all methods start from, fine-tuned on every reply of base.jsonl."""
    config = _file("sft")
    config.workdir = str(out / "base")
    config.method.responses = "all"
    config.data.train = str(out / "data" / "base.jsonl")
    config.data.test = str(out / "data" / "validation.jsonl")
    config.optimizer.learning_rate = 1e-3
    config.epochs = 1
    config.model.export_dtype = "float32"
    exported = out / "base" / export.DIRECTORY
    if not exported.is_dir():
        stages.run(training_config.parse(config))
    return exported


def _tune(options: argparse.Namespace, base: pathlib.Path, notify: Any) -> dict[str, float]:
    """Method -> the learning rate of its best trial on the validation rows."""
    tuning = _comparison(options, base, "tuning", "validation", (TUNING_SEED,))
    trials = {
        f"{name}_{rate:g}".replace(".", "p"): (name, rate)  # a ConfigDict's keys have no dots
        for rate in options.rates
        for name in options.methods
    }
    for trial, (name, rate) in trials.items():
        tuning.entries[trial] = _entry(name, rate)
    tuning.methods = tuple(trials)
    tuning.against = tuning.methods[0]
    found, _ = comparison.run(plan.parse(tuning), notify)
    scores = {record.name: results.measures(record.score) for record in found.records}
    chosen = {}
    for name in options.methods:
        own = [trial for trial, (method, _) in trials.items() if method == name]
        # Equal accuracies are common with a hundred rows.
        best = max(own, key=lambda t: (scores[t]["worst_accuracy"], -scores[t]["worst_loss"]))
        chosen[name] = trials[best][1]
        shown = {t: round(scores[t]["worst_accuracy"], 3) for t in own}
        notify(f"{name}: worst accuracy on validation rows {shown}")
    atomic.write_json(options.out / "tuning" / "chosen.json", chosen)
    return chosen


def _comparison(
    options: argparse.Namespace, base: pathlib.Path, name: str, split: str, seeds: Sequence[int]
) -> ml_collections.ConfigDict:
    """Without entries yet."""
    config = plan.config_dict(_file("lagdpo"), {"lagdpo": _file("lagdpo")})
    config.entries = ml_collections.ConfigDict()
    config.workdir = str(options.out / name)
    config.seeds = tuple(seeds)
    run = config.base
    run.model.path = str(base)
    run.model.export_dtype = "float32"
    run.data.train = str(options.out / "data" / "train.jsonl")
    run.data.test = str(options.out / "data" / f"{split}.jsonl")
    run.data.validation_fraction = 0.0
    run.data.row_length = 1536
    run.epochs = options.epochs
    run.reference = "cached"
    run.reference_cache = str(options.out / name / "reference")
    run.checkpoints_to_keep = 1
    return config


def _entry(name: str, rate: float) -> ml_collections.ConfigDict:
    file, changes = ENTRIES[name]
    entry = ml_collections.ConfigDict({"optimizer": {"learning_rate": rate}})
    entry.method = _file(file).method
    entry.method.update(changes)
    if file == "sft":  # it has no reference
        entry.reference, entry.reference_cache = "resident", None
    return entry


def _file(name: str) -> ml_collections.ConfigDict:
    spec = importlib.util.spec_from_file_location(f"configs_{name}", CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


if __name__ == "__main__":
    main()
