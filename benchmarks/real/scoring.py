"""Test figures of a policy, pair by pair, so that intervals can be made of prompts and seeds.

Both sets of rows are read in one pass: the conflict's further rows are others' with the replies
swapped, so that their log-probs are known. The first model's serve all runs.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from benchmarks.real import rows as row_sets
from benchmarks.real.entries import PLAIN, RunId, Setting, rows_file, scorer_config
from dignified_jax import data
from dignified_jax.files import atomic
from dignified_jax.models.checkpoint import policy
from dignified_jax.models.lora import LoraParams
from dignified_jax.training.inputs import data as input_data
from dignified_jax.training.run import compilation_cache
from dignified_jax.training.step import sharding
from dignified_jax.training.step.train_step import make_kl_step, make_score_step

FILE = "test.json"
BETA = 0.1
DTYPE = "float32"
KL_BATCHES = 2  # spread over the test rows: it costs two passes each


@dataclasses.dataclass(frozen=True)
class TestRows:
    """The test rows without a conflict, packed.

    Attributes:
      stream: of the rows, in their order.
      rows: as they were read.
      mesh: of the devices.
      rows_per_step: packed rows of one accumulation step.
    """

    stream: data.BatchStream
    rows: list[data.PreferenceRow]
    mesh: Mesh
    rows_per_step: int

    def batches(self) -> list[tuple[data.PackedBatch, Any, np.int32]]:
        """Each on the host and on the devices, with its accumulation steps."""
        found = []
        for step in range(self.stream.total_steps):
            host = self.stream.batch(step)
            placed = sharding.put_batch(host, self.mesh, self.rows_per_step)
            steps = input_data.accumulation_steps(self.stream, step, self.rows_per_step)
            found.append((host, placed, steps))
        return found


def test_rows(setting: Setting) -> TestRows:
    """Reads and packs the test rows without a conflict.

    Raises:
      ValueError: the file has rows that were left out, so that examples would not be its rows.
    """
    config = scorer_config(setting)
    mesh = sharding.make_mesh(config.mesh)
    rows_per_step = config.rows_per_device * sharding.row_devices(mesh)
    file = rows_file(setting, PLAIN, "test")
    prepared = input_data.prepare_data(config, pathlib.Path(config.workdir), rows_per_step)
    stream, rows = prepared.streams["test"], data.read_rows(file)
    if len(rows) != stream.example_count:
        raise ValueError(
            f"{file}: expected {len(rows)} examples of as many rows, found {stream.example_count}"
        )
    return TestRows(stream, rows, mesh, rows_per_step)


def score(setting: Setting, run: RunId, notify: Callable[[str], None]) -> dict[str, Any]:
    """Returns the test figures of a finished run, which are made once and kept in its directory."""
    directory = run.directory(setting.out)
    if (directory / FILE).is_file():
        return json.loads((directory / FILE).read_text(encoding="utf-8"))
    with compilation_cache.used(scorer_config(setting), notify):
        tested = test_rows(setting)
        loaded = policy.load(str(directory), DTYPE, tested.mesh)
        assert isinstance(loaded.params, LoraParams)
        log_probs, lengths, mask = _log_probs(loaded.model, loaded.params, tested)
        ratios = log_probs - _reference(setting, loaded, tested)
        divergence = _divergence(loaded.model, loaded.params, tested)
    rows = data.read_rows(rows_file(setting, run.world, "test"))
    of_rows = (arranged(table, tested.rows, rows) for table in (ratios, lengths, mask))
    found = figures(*of_rows, rows)
    found |= {"kl": divergence, "beta": BETA}
    atomic.write_json(directory / FILE, found)
    return found


def arranged(
    table: np.ndarray, scored: list[data.PreferenceRow], rows: list[data.PreferenceRow]
) -> np.ndarray:
    """Returns (row, 1 + K) what is known of the replies of `scored`, for `rows`.

    Args:
      table: (scored, 1 + K) of golden and rejects.
      scored: the rows that it is of.
      rows: those, or such with the replies of one of them swapped; of these the replies that the
        row lacks are 0.
    """
    columns = {name: place for place, name in enumerate(data.DIMENSIONS, start=1)}
    known, swapped = {}, {}
    for at, row in enumerate(scored):
        known[str(row.prompt), row.golden, *row.rejects.items()] = at
        for name, reject in row.rejects.items():
            swapped[str(row.prompt), reject, row.golden] = at, columns[name]
    found = np.zeros((len(rows), table.shape[1]), table.dtype)
    for at, row in enumerate(rows):
        if row.context != row_sets.OPPOSING_CONTEXT:
            found[at] = table[known[str(row.prompt), row.golden, *row.rejects.items()]]
            continue
        ((opposing, reject),) = row.rejects.items()
        partner, column = swapped[str(row.prompt), row.golden, reject]
        found[at, 0] = table[partner, column]
        found[at, columns[opposing]] = table[partner, 0]
    return found


def figures(
    log_ratios: np.ndarray,
    lengths: np.ndarray,
    mask: np.ndarray,
    rows: list[data.PreferenceRow],
) -> dict[str, Any]:
    """Returns lists with one entry a pair, and one a row.

    Args:
      log_ratios: (row, 1 + K) log pi - log pi_ref of golden and rejects.
      lengths: (row, 1 + K) their tokens.
      mask: (row, 1 + K) which there are.
      rows: what they are of.

    Returns:
      pairs: dimension, prompt (a number), opposing, margin (BETA times the difference of
      log-ratios) and longer (1 where golden is the longer reply, 1/2 where they are equally long);
      drift: of each row's golden, log pi - log pi_ref in nats a token.
    """
    prompts: dict[str, int] = {}
    numbers = [prompts.setdefault(str(row.prompt).strip(), len(prompts)) for row in rows]
    pairs: dict[str, list[Any]] = {
        name: [] for name in ("dimension", "prompt", "opposing", "margin", "longer")
    }
    for at, row in enumerate(rows):
        for place, dimension in enumerate(data.DIMENSIONS, start=1):
            if not (mask[at, 0] and mask[at, place]):
                continue
            pairs["dimension"].append(dimension)
            pairs["prompt"].append(numbers[at])
            pairs["opposing"].append(row.context == row_sets.OPPOSING_CONTEXT)
            pairs["margin"].append(BETA * float(log_ratios[at, 0] - log_ratios[at, place]))
            ahead = np.sign(int(lengths[at, 0]) - int(lengths[at, place]))
            pairs["longer"].append((float(ahead) + 1) / 2)
    drift = log_ratios[:, 0] / np.maximum(lengths[:, 0], 1)
    return {"pairs": pairs, "drift": [float(value) for value in drift]}


def _log_probs(
    model: Any, params: Any, tested: TestRows
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """((row, 1 + K) log-probs, lengths, mask)."""
    step = make_score_step(model, tested.mesh)
    found = [
        (np.asarray(step(params, placed, steps)), host.response_length, host.response_mask)
        for host, placed, steps in tested.batches()
    ]
    log_probs, lengths, mask = (np.concatenate(parts) for parts in zip(*found, strict=True))
    count = len(tested.rows)
    return log_probs[:count].astype(np.float64), lengths[:count], mask[:count]


def _reference(setting: Setting, loaded: policy.Policy, tested: TestRows) -> np.ndarray:
    """(row, 1 + K) log-probs of the first model, made once for all policies."""
    file = setting.out / "judge" / "reference.npy"
    if file.is_file():
        return np.load(file)
    plain = loaded.model.clone(lora=type(loaded.model.lora)())
    found, _, _ = _log_probs(plain, loaded.params.base, tested)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(file) as partial, partial.open("wb") as handle:
        np.save(handle, found)
    return found


def _divergence(model: Any, params: LoraParams, tested: TestRows) -> float:
    """KL(policy || first model) in nats a token, over the replies of KL_BATCHES batches."""
    step = _kl_step(model, tested.mesh)
    total, tokens = 0.0, 0
    batches = tested.batches()
    for host, placed, steps in batches[:: -(-len(batches) // KL_BATCHES)]:
        total += np.asarray(step((params, params.base), placed, steps), np.float64).sum()
        tokens += int(host.response_length.sum())
    return total / tokens


@functools.lru_cache(maxsize=2)
def _kl_step(model: Any, mesh: Mesh) -> Any:
    return make_kl_step(model, mesh)


def is_scored(setting: Setting, run: RunId) -> bool:
    """Says that the test rows were read for a run."""
    return (run.directory(setting.out) / FILE).is_file()


def device() -> str:
    """Returns what computed."""
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind}"
