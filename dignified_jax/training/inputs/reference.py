"""A frozen policy's log-probs of every response, computed once and kept in one file.

A run that reads them never holds that policy's parameters. The file names what the log-probs
were computed from, and is refused by a run that would compute others.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dignified_jax.console.waiting import ShowCount, waiting
from dignified_jax.data import BatchStream, share_shape
from dignified_jax.files import atomic
from dignified_jax.files.differences import differences
from dignified_jax.training.config import ConfigError
from dignified_jax.training.run import fingerprint

FILE = "reference.safetensors"
Score = Callable[[BatchStream, int], jax.Array]


@dataclasses.dataclass(frozen=True)
class PerExample:
    """Float32 numbers of every example, in the streams' numbering.

    Attributes:
      splits: split -> (example, 1 + K) log-probs, summed over a response and 0 where there is
        none; or (example, 1 + K, K) rewards. K is the number of dimensions.
    """

    splits: Mapping[str, np.ndarray]

    def batch(self, split: str, stream: BatchStream, step: int) -> np.ndarray:
        """Those of the stream's batch; 0 for the examples that a short batch lacks."""
        chosen = self.splits[split][stream.indices(step)]
        absent = [(0, stream.batch_size - len(chosen))] + [(0, 0)] * (chosen.ndim - 1)
        return np.pad(chosen, absent)


def rewards(policies: Sequence[PerExample], reference: PerExample, beta: float) -> PerExample:
    """beta (log pi_j - log pi_ref) of K policies, from their log-probs: (example, 1 + K, K)."""
    return PerExample(
        {
            split: np.stack([beta * (p.splits[split] - base) for p in policies], axis=-1)
            for split, base in reference.splits.items()
        }
    )


def read_or_compute(
    directory: pathlib.Path,
    streams: Mapping[str, BatchStream],
    identity: Mapping[str, str],
    score: Score,
    notify: Callable[[str], None],
) -> PerExample:
    """The log-probs in `directory`, computed and written first if they are not there.

    An unreadable file (cut off, overwritten) is computed anew, and said so.

    Args:
      directory: holds or will hold one file; only the first process touches it.
      streams: the splits.
      identity: what the log-probs depend on, name to fingerprint.
      score: `(stream, step) -> (example, 1 + K)` log-probs of one batch under the policy.
      notify: shows a line to a person.

    Raises:
      ConfigError: the file is of another model, tokenizer, template or data; says which.
    """
    file = directory / FILE
    shapes = {
        split: (stream.example_count, stream.capacity.responses)
        for split, stream in streams.items()
    }
    found = _read(file, identity, notify) if jax.process_index() == 0 else None
    if not _agreed(found is not None):
        notify(f"computing log-probs into {file}")
        # In one shape: the policy's scoring is compiled once.
        ordered = share_shape([stream.ordered() for stream in streams.values()])
        with waiting("computing log-probs of batches", jax.process_index() == 0) as count:
            found = _compute(dict(zip(streams, ordered, strict=True)), score, count)
        if jax.process_index() == 0:
            _write(file, found, identity)
    elif jax.process_index() > 0:
        found = {split: np.zeros(shape, np.float32) for split, shape in shapes.items()}
    if jax.process_count() > 1:
        found = jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(found))
    return PerExample({split: found[split] for split in streams})


def _compute(
    streams: Mapping[str, BatchStream], score: Score, count: ShowCount
) -> dict[str, np.ndarray]:
    total = sum(stream.total_steps for stream in streams.values())
    found, done = {}, 0
    for split, stream in streams.items():
        parts = []
        for step in range(stream.total_steps):
            parts.append(np.asarray(score(stream, step)))
            done += 1
            count(done, total)
        found[split] = np.concatenate(parts)[: stream.example_count]
    return found


def _write(
    file: pathlib.Path, splits: Mapping[str, np.ndarray], identity: Mapping[str, str]
) -> None:
    """Whole or not at all: what is under the final name was written to its end."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"arrays": _digest(splits), **identity}
    try:
        with atomic.replacing(file) as partial:
            save_file(dict(splits), partial, metadata={"identity": json.dumps(content)})
    except SafetensorError as error:
        raise OSError(f"{file}: cannot be written: {error}") from error


def _read(
    file: pathlib.Path,
    identity: Mapping[str, str],
    notify: Callable[[str], None],
) -> dict[str, np.ndarray] | None:
    if not file.is_file():
        return None
    try:
        with safe_open(str(file), framework="numpy") as handle:
            content = json.loads(handle.metadata()["identity"])
            splits = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        whole = content.pop("arrays") == _digest(splits)
    except (SafetensorError, TypeError, KeyError, ValueError, OSError) as error:
        notify(f"{file}: not readable ({error})")
        return None
    if not whole:
        notify(f"{file}: its numbers are not those that were written")
        return None
    changes = differences(content, identity)
    if changes:
        raise ConfigError(
            f"{file} was computed from other inputs; choose another directory, or delete it:\n  "
            + "\n  ".join(changes)
        )
    return splits


def _digest(splits: Mapping[str, np.ndarray]) -> str:
    return fingerprint.of_arrays({name: splits[name] for name in sorted(splits)})


def _agreed(found: bool) -> bool:
    """The first process's answer, on all."""
    if jax.process_count() == 1:
        return found
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(found)))
