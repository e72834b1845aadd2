"""Prepares a run's batches: rows read, checked, split, tokenised and packed."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import pathlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dignified_jax import data
from dignified_jax.data import packing_report
from dignified_jax.data.rejected import set_aside
from dignified_jax.data.schema import response_names
from dignified_jax.data.schema.conversation import plain_text
from dignified_jax.data.template import load_template
from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.embedded import resolve
from dignified_jax.models import hf
from dignified_jax.models.hf.config import read_config
from dignified_jax.objectives import GOLDEN, Objective
from dignified_jax.training.config import ConfigError, TrainConfig
from dignified_jax.training.inputs.rows import mixture, read_splits, rejected_file
from dignified_jax.training.run import continuation, fingerprint

TEMPLATE_DATE = "template date"
_SECONDS_A_LINE = 5

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """Batches of the splits "train", "validation" (unless it is empty) and "test".

    Attributes:
      train_prompts: prompt of each training example, in the stream's numbering.
      identity: what the batches are made of, name to fingerprint.
      notes: lines on each split and on the shapes of batches, for a person.
    """

    tokenizer: Any
    train_prompts: tuple[str, ...]
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
      notify: shows a line now and then while rows are tokenised.

    Raises:
      BadRowsError, ValueError, FileNotFoundError: see `dignified_jax.data`.
      ConfigError: a limit exceeds what the model was made for.
    """
    directory = hf.resolve(resolve(config.model.path), weights=False)
    model_config = read_config(directory)
    limit = model_config.max_position_embeddings
    longest = config.data.max_length or config.data.row_length
    if config.data.max_length is not None and longest > limit:
        raise ConfigError(
            f"data.max_length is {longest}, but the model has max_position_embeddings {limit}"
        )
    tokenizer = load_tokenizer(directory, config.data.chat_template)

    dimensions = config.data.dimensions
    rows = read_splits(config, workdir)
    notes = list(rows.notes)
    seen = _template_date(workdir)
    template = load_template(
        tokenizer,
        json.loads(config.data.chat_template_kwargs),
        name=config.data.chat_template or config.model.path,
        now=seen,
    )
    if "random numbers" in template.reads:
        notes.append("the chat template draws random numbers: texts differ from start to start")
    prompts: dict[str, tuple[str, ...]] = {}
    identity = {
        "tokenizer": fingerprint.of_tokenizer(tokenizer),
        "chat template": fingerprint.of_text(
            str(tokenizer.chat_template), config.data.chat_template_kwargs
        ),
    }

    if "the clock" in template.reads:
        identity[TEMPLATE_DATE] = f"{seen:%Y-%m-%d}"
        notes.append(f"the chat template reads the clock; this run keeps {seen:%Y-%m-%d}")
    heads = tuple(notes)
    notes.clear()

    def stream(name: str, split: list[data.PreferenceRow]) -> data.BatchStream:
        trains = name == "train"
        every = response_names(dimensions)
        responses = _trained_responses(config.method, dimensions) if trains else every
        if set(responses) - {"golden"} and len(responses) < len(every):
            split = [row for row in split if row.rejects.keys() & set(responses)]
            if not split:
                raise ConfigError(
                    f"method {config.method.name!r} trains on {', '.join(responses[1:])}, but no "
                    f"{name} row has a reject of these"
                )
        examples, report = data.encode(
            split,
            tokenizer,
            max_length=min(longest, limit),
            row_length=config.data.row_length,
            on_too_long=config.data.on_too_long,
            responses=responses,
            template=template,
            on_bad_row=config.data.on_bad_row,
            progress=None if notify is None else _progress(name, notify),
        )
        if report.rejected:
            bad = [(split[index], problems) for index, problems in report.rejected.items()]
            if len(bad) == len(split):
                raise data.BadRowsError(problem for _, problems in bad for problem in problems)
            set_aside(rejected_file(config, workdir, "test" if name == "test" else "train"), bad)
        if not examples:
            raise ConfigError(
                f"data.row_length {config.data.row_length} (data.max_length {longest}): none of "
                f"the {len(split)} {name} rows fits, even truncated; raise it"
            )
        _check_vocabulary(examples, model_config.vocab_size)
        of_files = [split[example.index].file for example in examples]
        shares, note = mixture(config.data, rows.files, of_files) if trains else (None, "")
        made = data.BatchStream(
            examples,
            batch_size=config.batch_size,
            row_length=config.data.row_length,
            rows_multiple=rows_per_step,
            seed=config.seed,
            epochs=config.epochs if trains else 1,
            shuffle=trains,
            mixture=shares,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        identity[f"{name} rows"] = fingerprint.of_rows(split)
        identity[f"{name} tokens"] = fingerprint.of_examples(examples)
        prompts[name] = tuple(plain_text(split[example.index].prompt) for example in examples)
        batches = "1 batch" if made.steps_per_epoch == 1 else f"{made.steps_per_epoch} batches"
        notes.append(
            f"{name}: {len(examples)} examples ({report.truncated} cut, {report.dropped} dropped) "
            f"in {batches} of {config.batch_size}"
            + (f"; {len(report.rejected)} bad rows set aside" if report.rejected else "")
            + (f"; {len(report.lossy_indices)} lose a character" if report.lossy_indices else "")
            + (f"; {note}" if note else "")
        )
        return made

    splits = {"train": rows.train, "validation": rows.validation, "test": rows.test}
    streams = {name: stream(name, split) for name, split in splits.items() if split}
    streams |= _evaluated(streams, config.reference == "cached")
    notes = [
        f"{note}\n  {packing_report.describe(made)}"
        for note, made in zip(notes, streams.values(), strict=True)
    ]
    notes.append(packing_report.shapes(streams))
    return PreparedData(tokenizer, prompts["train"], streams, identity, (*heads, *notes))


def _template_date(workdir: pathlib.Path) -> datetime.datetime:
    """The day that templates are told: that of the run's first start."""
    recorded = continuation.recorded_input(workdir, TEMPLATE_DATE)
    day = datetime.date.fromisoformat(recorded) if recorded else datetime.date.today()
    return datetime.datetime.combine(day, datetime.time())


def _progress(name: str, notify: Callable[[str], None]) -> Callable[[int, int], None]:
    """Says every few seconds how many rows are tokenised."""
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if done < total and time.monotonic() - last > _SECONDS_A_LINE:
            last = time.monotonic()
            notify(f"{name}: {done} of {total} rows tokenised")

    return show


def _evaluated(streams: dict[str, data.BatchStream], cached: bool) -> dict[str, data.BatchStream]:
    """The splits for evaluation in one shape, which fits the training rows too if `cached`."""
    names = [name for name in streams if name != "train"]
    train = [streams["train"].ordered()] if cached else []
    shared = data.share_shape([*(streams[name] for name in names), *train])
    return dict(zip(names, shared, strict=False))


def _trained_responses(objective: Objective, dimensions: tuple[str, ...]) -> tuple[str, ...]:
    """Those that the objective looks at, in order; the others are not worth computing."""
    named, every = objective.trained_responses(dimensions), response_names(dimensions)
    if GOLDEN not in named or not set(named) <= set(every):
        raise ValueError(
            f"{type(objective).__name__}.trained_responses: expected {GOLDEN!r} and names of "
            f"{dimensions}, found {named}"
        )
    return tuple(name for name in every if name in named)


def _check_vocabulary(examples: list[data.TokenizedExample], size: int) -> None:
    """An id beyond the embedding would be clamped to its last row without a word."""
    for example in examples:
        pieces = [example.prompt, *(r for r in example.responses if r is not None)]
        largest = max(int(ids.max()) for ids in pieces)
        if largest >= size:
            raise ConfigError(
                f"model.path: the tokenizer gives token id {largest}, but the model's vocabulary "
                f"has {size} entries; tokenizer and weights are of different models"
            )


def end_of_turn(config: TrainConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """Token id that ends every trained reply."""
    return load_template(tokenizer, json.loads(config.data.chat_template_kwargs)).end_of_turn


def total_steps(config: TrainConfig, stream: data.BatchStream) -> int:
    """Optimiser steps of the run."""
    return (
        stream.total_steps
        if config.max_steps is None
        else min(config.max_steps, stream.total_steps)
    )


def accumulation_steps(stream: data.BatchStream, step: int, rows_per_step: int) -> np.int32:
    """Non-empty accumulation steps of batch `step`."""
    return np.int32(math.ceil(stream.used_rows(step) / rows_per_step))
