"""Prepares a run's batches: rows tokenised and packed."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from dignified_jax import data
from dignified_jax.cluster import members
from dignified_jax.console.waiting import ShowCount, waiting
from dignified_jax.data import packing_report
from dignified_jax.data.mixture import Mixture
from dignified_jax.data.tokenizer import Tokenizer
from dignified_jax.training.config import ConfigError, TrainConfig
from dignified_jax.training.inputs import text_encoder
from dignified_jax.training.inputs.rows import mixture
from dignified_jax.training.inputs.splits import tokens_of_splits
from dignified_jax.training.inputs.text_encoder import TextEncoder
from dignified_jax.training.inputs.tokens import SplitTokens


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """Batches of the splits "train", "validation" (unless it is empty) and "test".

    Attributes:
      train_prompts: prompt of each training example, in the stream's numbering.
      identity: what the batches are made of, name to fingerprint.
      notes: lines on each split and on the shapes of batches, for a person.
    """

    tokenizer: Tokenizer
    train_prompts: Sequence[str]
    streams: dict[str, data.BatchStream]
    identity: dict[str, str]
    notes: tuple[str, ...]


def prepare_data(
    config: TrainConfig,
    workdir: pathlib.Path,
    rows_per_step: int,
    notify: Callable[[str], None] | None = None,
) -> PreparedData:
    """Reads, validates, splits, tokenises and packs.

    Args:
      config: the run's configuration.
      workdir: rejected rows are written here when `data.on_bad_row` is "skip".
      rows_per_step: packed rows of one accumulation step, over all devices.
      notify: shows a line to a person; None shows nothing, nor what is being waited for.

    Raises:
      BadRowsError, ValueError, FileNotFoundError: see `dignified_jax.data`.
      ConfigError: a limit exceeds what the model was made for.
    """
    encoder = text_encoder.prepare(config, workdir)
    splits = tokens_of_splits(config, workdir, encoder, notify)
    members.at("planning batches")
    for name, tokens in splits.items():
        _check(config, name, tokens, encoder)
    shares, note = mixture(config.data, splits["train"].files)
    visible = notify is not None and jax.process_index() == 0
    streams = {}
    for name, tokens in splits.items():
        with waiting(f"planning {name} batches", visible, share=True) as progress:
            streams[name] = _stream(config, name, tokens, rows_per_step, shares, progress)
    lines = [_describe(config, name, splits[name], made) for name, made in streams.items()]
    lines[0] += f"; {note}" if note else ""
    streams |= _evaluated(streams, config.reference == "cached")
    packed = [
        f"{line}\n  {packing_report.describe(made)}"
        for line, made in zip(lines, streams.values(), strict=True)
    ]
    notes = [*encoder.notes, *packed, packing_report.shapes(streams)]
    if not config.data.test_sources:
        notes.insert(0, f"no data.test: the final table is of the {config.data.test_rows}")
    identity = dict(encoder.identity)
    for name, tokens in splits.items():
        identity[f"{name} rows"] = tokens.rows_digest
        identity[f"{name} tokens"] = tokens.tokens_digest
    return PreparedData(
        encoder.template.tokenizer, splits["train"].prompts, streams, identity, tuple(notes)
    )


def _check(config: TrainConfig, split: str, tokens: SplitTokens, encoder: TextEncoder) -> None:
    if not len(tokens.examples):
        raise ConfigError(
            f"data.row_length {config.data.row_length} (data.max_length "
            f"{config.data.max_length or config.data.row_length}): none of the {tokens.rows} "
            f"{split} rows fits, even truncated; raise it"
        )
    # An id beyond the embedding would be clamped to its last row without a word.
    if tokens.largest >= encoder.vocabulary:
        raise ConfigError(
            f"model.path: the tokenizer gives token id {tokens.largest}, but the model's "
            f"vocabulary has {encoder.vocabulary} entries; tokenizer and weights are of different "
            "models"
        )


def _stream(
    config: TrainConfig,
    split: str,
    tokens: SplitTokens,
    rows_per_step: int,
    shares: Mixture | None,
    progress: ShowCount,
) -> data.BatchStream:
    trains = split == "train"
    return data.BatchStream(
        tokens.examples,
        batch_size=config.batch_size,
        row_length=config.data.row_length,
        rows_multiple=rows_per_step,
        seed=config.seed,
        epochs=config.epochs if trains else 1,
        shuffle=trains,
        mixture=shares if trains else None,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        progress=progress,
    )


def _describe(
    config: TrainConfig, split: str, tokens: SplitTokens, stream: data.BatchStream
) -> str:
    steps, kept = stream.steps_per_epoch, set(tokens.examples.indices.tolist())
    bad = tokens.rejected.keys() - kept
    pairs = sum(len(tokens.rejected[position]) for position in tokens.rejected.keys() & kept)
    batches = "1 batch" if steps == 1 else f"{steps} batches"
    return (
        f"{split}: {len(tokens.examples)} examples ({tokens.truncated} cut, {tokens.dropped} "
        f"dropped) in {batches} of {config.batch_size}"
        + (f"; {len(bad)} bad rows set aside" if bad else "")
        + (f"; {pairs} bad pairs of other rows set aside" if pairs else "")
        + (f"; {tokens.lossy} lose a character" if tokens.lossy else "")
    )


def _evaluated(streams: dict[str, data.BatchStream], cached: bool) -> dict[str, data.BatchStream]:
    """The splits for evaluation in one shape, which fits the training rows too if `cached`."""
    names = [name for name in streams if name != "train"]
    train = [streams["train"].ordered()] if cached else []
    shared = data.share_shape([*(streams[name] for name in names), *train])
    return dict(zip(names, shared, strict=False))


def total_steps(config: TrainConfig, stream: data.BatchStream) -> int:
    """Returns the optimiser steps of the run."""
    return (
        stream.total_steps
        if config.max_steps is None
        else min(config.max_steps, stream.total_steps)
    )


def accumulation_steps(stream: data.BatchStream, step: int, rows_per_step: int) -> np.int32:
    """Returns the non-empty accumulation steps of batch `step`."""
    return np.int32(math.ceil(stream.used_rows(step) / rows_per_step))
