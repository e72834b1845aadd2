"""Runs that train LoRA in the upper layers alone, on kept activations of the lower ones.

A step costs the upper layers and the output head, a fraction of the whole model. A run leaves what
whole runs leave as far as the comparison reads it: metrics, the validation figures in its summary,
an adapter of the whole model, and after the test its figures. The lower layers' states of a set of
rows are made once and kept on the disk.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from benchmarks.real import activations, adapter, paired, scoring
from benchmarks.real.activations import Batches
from benchmarks.real.entries import PLAIN, RunId, Setting, rows_file, train_config
from benchmarks.real.training import SECONDS_FILE
from dignified_jax import data
from dignified_jax.data import DIMENSIONS
from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.embedded import resolve
from dignified_jax.files import atomic
from dignified_jax.models import hf
from dignified_jax.models.decoder import Decoder
from dignified_jax.models.lora import COLLECTION, LoraConfig, LoraParams
from dignified_jax.training.inputs.model import draw
from dignified_jax.training.run import compilation_cache
from dignified_jax.training.run import directory as run_directory
from dignified_jax.training.step import metrics, sharding
from dignified_jax.training.step.optimizer import make_optimizer
from dignified_jax.training.step.state import init_state
from dignified_jax.training.step.step_inputs import CachedReference, StepInputs
from dignified_jax.training.step.train_step import make_kl_step, make_score_step, make_train_step

ONE_STEP = np.int32(1)
TRAIN, VALIDATION, TEST = "train", "validation", "test"
Notify = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Split:
    """A split's batches, on the host and on the devices, and the first model's log-probs.

    Attributes:
      rows: in the order of the file.
      batches: of them.
      placed: the same on the devices.
      reference: of each batch (example, 1 + K).
    """

    rows: list[data.PreferenceRow]
    batches: Batches
    placed: list[data.PackedBatch]
    reference: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The upper layers on a set of rows.

    Attributes:
      model: their decoder, with LoRA.
      base: their frozen parameters.
      splits: TRAIN and VALIDATION of the set, and TEST without a conflict.
      mesh: of the devices.
    """

    model: Decoder
    base: dict[str, Any]
    splits: dict[str, Split]
    mesh: Mesh


def train(setting: Setting, run: RunId, notify: Notify) -> None:
    """Trains a run from its start to its end, which is marked by its summary."""
    notify(f"training {run.label}")
    started = time.perf_counter()
    config = train_config(setting, run)
    with compilation_cache.used(config, notify):
        ready = prepare(setting, run.world, notify)
        method = config.method.for_steps(setting.steps)
        optimizer = make_optimizer(config.optimizer, setting.steps)
        lora = draw(ready.model, COLLECTION, "float32", run.seed, ready.mesh)
        state = init_state(lora, method, len(DIMENSIONS), optimizer, ready.mesh)
        step = make_train_step(ready.model, method, optimizer, ready.mesh)
        split, records = ready.splits[TRAIN], []
        for number, at in enumerate(_order(len(split.placed), setting.steps, run.seed), start=1):
            reference = CachedReference(split.reference[at])
            inputs = StepInputs(split.placed[at], ONE_STEP, reference, base=ready.base)
            state, report = step(state, inputs)
            report.pop("log_probs")
            flat = metrics.flatten(report, DIMENSIONS)
            if not flat.pop("finite"):
                raise FloatingPointError(f"{run.label}: step {number} was not finite")
            records.append({"step": number, **flat})
            notify(_line(number, setting.steps, flat))
        policy = LoraParams(ready.base, state.params)
        found = _figures(ready, policy, VALIDATION)
    directory = run.directory(setting.out)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / run_directory.METRICS_FILE).unlink(missing_ok=True)  # of a part that was stopped
    for record in records:
        run_directory.log(directory, record)
    adapter.save(setting, run, state.params)
    atomic.write_json(directory / SECONDS_FILE, time.perf_counter() - started)
    summary = {"dimensions": _by_dimension(found), "pairs": found["pairs"]}
    atomic.write_json(directory / run_directory.SUMMARY_FILE, summary)


def score(setting: Setting, run: RunId, notify: Notify) -> dict[str, Any]:
    """Returns the test figures of a finished run, which are made once and kept in its directory."""
    directory = run.directory(setting.out)
    with compilation_cache.used(train_config(setting, run), notify):
        ready = prepare(setting, run.world, notify)
        policy = LoraParams(ready.base, adapter.load(setting, run))
        rows = data.read_rows(rows_file(setting, run.world, TEST))
        found = _figures(ready, policy, TEST, rows)
        found |= {"kl": _divergence(ready, policy), "beta": scoring.BETA}
    atomic.write_json(directory / scoring.FILE, found)
    return found


@functools.lru_cache(maxsize=1)
def prepare(setting: Setting, world: str, notify: Notify) -> Prepared:
    """Returns the upper layers on a set of rows; the lower ones' states are made where not kept.

    Raises:
      ValueError: the model has not so many layers, or such that are not alike.
    """
    directory = hf.resolve(resolve(setting.model))
    tokenizer = load_tokenizer(directory)
    mesh = sharding.make_mesh(sharding.MeshConfig(), jax.devices()[:1])  # a batch is one row
    model, params = hf.load(directory, "float32", mesh)
    model = model.clone(remat="none")
    layers = _lower(model.config.num_layers, setting.upper_layers)
    names = {TRAIN: world, VALIDATION: world, TEST: PLAIN}
    files = {
        name: setting.out / "states" / f"{origin}_{name}_{layers}" for name, origin in names.items()
    }
    rows = {name: data.read_rows(rows_file(setting, own, name)) for name, own in names.items()}
    batches = {
        name: activations.batches(data.encode(own, tokenizer)[0], setting.batch_size, seed=0)
        for name, own in rows.items()
    }
    tables, placed, entries = [], {}, 0
    for name, own in batches.items():
        notify(f"{name}: {len(own.packed)} batches; states of the lower {layers} layers")
        make = functools.partial(activations.lower_states, model, params, layers, own.packed)
        states = _kept(files[name].with_suffix(".npy"), make)
        tables.append(states.reshape(-1, states.shape[-1]))
        placed[name] = activations.on_devices(own, entries, mesh)
        entries += len(tables[-1])
    top, base = activations.upper(model, params, layers, np.concatenate(tables))
    score = make_score_step(top, mesh)

    def reference(name: str) -> np.ndarray:
        return np.stack([np.asarray(score(base, batch, ONE_STEP)) for batch in placed[name]])

    splits = {
        name: Split(
            rows[name],
            batches[name],
            placed[name],
            list(_kept(_reference_file(files[name]), functools.partial(reference, name))),
        )
        for name in names
    }
    return Prepared(top.clone(lora=LoraConfig(rank=setting.rank)), base, splits, mesh)


def _lower(layers: int, upper: int | None) -> int:
    """How many layers are below the upper ones."""
    if upper is None or not 0 < upper < layers:
        raise ValueError(f"--upper_layers: expected 1 to {layers - 1}, found {upper}")
    return layers - upper


def _reference_file(states: pathlib.Path) -> pathlib.Path:
    return states.with_name(f"{states.name}_reference.npy")


def _kept(file: pathlib.Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array in a file, made and written first where there is none."""
    if not file.is_file():
        made = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(file) as partial, partial.open("wb") as handle:
            np.save(handle, made)
    return np.load(file)


def _figures(
    ready: Prepared,
    policy: LoraParams,
    name: str,
    rows: list[data.PreferenceRow] | None = None,
) -> dict[str, Any]:
    """As `scoring.figures`, of a split's rows, or of `rows` that are made of them."""
    split = ready.splits[name]
    step = make_score_step(ready.model, ready.mesh)
    ratios = [
        np.asarray(step(policy, batch, ONE_STEP), np.float64) - reference
        for batch, reference in zip(split.placed, split.reference, strict=True)
    ]
    lengths = [np.asarray(batch.response_length) for batch in split.batches.packed]
    masks = [np.asarray(batch.response_mask) for batch in split.batches.packed]
    tables = [split.batches.in_order(parts) for parts in (ratios, lengths, masks)]
    if rows is not None:
        tables = [scoring.arranged(table, split.rows, rows) for table in tables]
    return scoring.figures(*tables, split.rows if rows is None else rows)


def _divergence(ready: Prepared, policy: LoraParams) -> float:
    """KL(policy || first model) in nats a token, over some batches of the test."""
    step = make_kl_step(ready.model, ready.mesh)
    split, total, tokens = ready.splits[TEST], 0.0, 0
    for place in range(0, len(split.placed), max(1, len(split.placed) // scoring.KL_BATCHES)):
        total += np.asarray(step((policy, ready.base), split.placed[place], ONE_STEP)).sum()
        tokens += int(split.batches.packed[place].response_length.sum())
    return float(total / tokens)


def _order(batches: int, steps: int, seed: int) -> np.ndarray:
    """(step,) batch of each step: all of them in an order of each epoch's own."""
    rng = np.random.default_rng([seed, 11])
    epochs = -(-steps // batches)
    return np.concatenate([rng.permutation(batches) for _ in range(epochs)])[:steps]


def _by_dimension(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    figures, names = paired.once(found["pairs"]), set(found["pairs"]["dimension"])
    return {
        name: {
            "accuracy": float(figures.accuracy[0, place]),
            "loss": float(figures.loss[0, place]),
        }
        for place, name in enumerate(DIMENSIONS)
        if name in names
    }


def _line(number: int, steps: int, flat: dict[str, float]) -> str:
    shown = [f"{number:4d}/{steps}"]
    for name in ("loss", "lambda"):
        values = [flat.get(f"{name}/{k}") for k in DIMENSIONS]
        shown.append(name + "".join(" -    " if v is None else f" {v:.3f}" for v in values))
    return "  ".join(shown)
