"""The token ids of every split, from the cache where they are there and the rows are known."""

from __future__ import annotations

import functools
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dignified_jax import data, typed_config
from dignified_jax.console.waiting import ShowCount, Waiting, waiting
from dignified_jax.data.rejected import set_aside
from dignified_jax.data.store import cache as token_cache
from dignified_jax.data.store import origin
from dignified_jax.data.store.arrays import Arrays
from dignified_jax.data.store.texts import Chosen
from dignified_jax.data.tokenize import Encoder
from dignified_jax.embedded import resolve
from dignified_jax.training.config import ConfigError, TrainConfig
from dignified_jax.training.inputs import tokens
from dignified_jax.training.inputs.rows import Rows, RowSplits, read_splits, rejected_file
from dignified_jax.training.inputs.text_encoder import TextEncoder
from dignified_jax.training.inputs.tokens import SplitTokens
from dignified_jax.training.run import fingerprint

# Of the settings of data: what does not change how the rows of a split are read.
_APART = {
    *("train", "test", "anchors", "weights", "validation_fraction", "groups"),
    *("chat_template", "chat_template_kwargs", "cache", "cache_gib"),
}
Notify = Callable[[str], None]
Digests = Mapping[str, tuple[str, str | None]]
"""Source, as it is named -> its file, and the digest of its content where that is known."""


def tokens_of_splits(
    config: TrainConfig, workdir: pathlib.Path, encoder: TextEncoder, notify: Notify | None
) -> dict[str, SplitTokens]:
    """Returns the tokens of each split, "validation" and "test" only where there are any.

    Rows are not read where the cache has all of them.

    Args:
      config: the run's.
      workdir: rejected rows are written here when `data.on_bad_row` is "skip".
      encoder: the run's.
      notify: shows a line to a person; None shows nothing, nor what is being waited for.

    Raises:
      BadRowsError, ValueError, FileNotFoundError: see `dignified_jax.data`.
      ConfigError: a method has nothing to train on.
    """
    cache = _cache(config, encoder, notify)
    visible = notify is not None and jax.process_index() == 0
    show = functools.partial(waiting, visible=visible)
    encoders = {name: encoder.encoder(config, name) for name in _names(config)}
    keys = _keys(config, encoders, show) if cache.keeps else {}
    found = {}
    for name, key in keys.items():
        with show(f"reading {name} token ids", share=True) as count:
            if entry := cache.find(key, count):
                found[name] = entry
    if found.keys() == encoders.keys() and all(entry.notes["clean"] for entry in found.values()):
        for text in dict.fromkeys(t for entry in found.values() for t in entry.notes["warnings"]):
            warnings.warn(text, stacklevel=2)
        return {name: tokens.read(entry) for name, entry in found.items()}
    rows, said = _read_rows(config, workdir, show)
    changed = cache.keeps and _keys(config, encoders, show) != keys  # while they were read
    made = {}
    for name, of_split in encoders.items():
        split = _trained_on(config, name, getattr(rows, name), of_split)
        key = None if changed else keys.get(name)
        entry = None if changed else found.get(name)
        if key is None and cache.keeps:
            key = tokens.key(_of_rows(split), of_split, _settings(config))
            entry = cache.find(key)
        if entry is None:
            with show(f"tokenising {name} rows") as progress:
                fill = functools.partial(_fill, config, split, of_split, said, progress)
                entry = cache.make(key or "", fill)
        made[name] = tokens.read(entry)
        _set_aside(config, workdir, name, split, made[name])
    return made


def _fill(
    config: TrainConfig,
    rows: Rows,
    encoder: Encoder,
    said: Sequence[str],
    progress: ShowCount,
    arrays: Arrays,
) -> dict[str, Any]:
    notes = tokens.fill(arrays, rows, encoder, config.data.on_bad_row, progress)
    # Bad rows are set aside anew in every run directory, which takes the rows.
    clean = not notes["rejected"] and not any("were skipped" in text for text in said)
    return {**notes, "clean": clean, "warnings": said}


def _keys(config: TrainConfig, encoders: Mapping[str, Encoder], show: Waiting) -> dict[str, str]:
    """The key of each split whose rows are known by the content of their sources."""
    names = dict.fromkeys((*config.data.train_sources, *config.data.test_sources))
    files = [resolve(name) for name in names]
    with show("looking for changes in the rows", share=True) as count:
        found = zip(files, origin.digests(files, count), strict=True)
    digests = dict(zip(names, found, strict=True))
    parts = {name: _part(config, name, digests) for name in encoders}
    settings = _settings(config)
    return {
        name: tokens.key(part, encoders[name], settings)
        for name, part in parts.items()
        if part is not None
    }


def _names(config: TrainConfig) -> tuple[str, ...]:
    held_out = ("validation",) if config.data.validation_fraction else ()
    return ("train", *held_out, "test")


def _cache(config: TrainConfig, encoder: TextEncoder, notify: Notify | None) -> token_cache.Cache:
    kept = config.data.cache_gib > 0 and encoder.repeatable
    return token_cache.Cache(
        token_cache.token_directory(config.data.cache) if kept else None,
        int(config.data.cache_gib * 2**30),
        notify or (lambda text: None),
    )


def _part(config: TrainConfig, split: str, digests: Digests) -> dict[str, Any] | None:
    """The rows of a split, as JSON, by the content of their sources.

    None where that can't be known before they are read: of hub data sets, and of anchors.
    """
    if split == "test" and config.data.test_sources:
        return _sources(config.data.test_sources, digests)
    known = _sources(config.data.train_sources, digests)
    if known is None or config.data.anchors:
        return None
    fraction = config.data.validation_fraction
    return {
        **known,
        "part": "train" if split == "train" else "validation",
        "fraction": fraction,
        "seed": config.seed if fraction else None,
    }


def _sources(names: Sequence[str], digests: Digests) -> dict[str, Any] | None:
    found = [digests[name] for name in names]
    return None if any(digest is None for _, digest in found) else {"sources": found}


def _of_rows(rows: Rows) -> dict[str, Any]:
    """The same, of rows that were read."""
    places = (f"{row.file}:{row.row}" for row in rows)
    return {"rows": fingerprint.of_rows(rows), "places": fingerprint.of_text(*places)}


def _settings(config: TrainConfig) -> dict[str, Any]:
    fields = typed_config.as_dict(config.data)
    return {name: value for name, value in fields.items() if name not in _APART}


def _read_rows(
    config: TrainConfig, workdir: pathlib.Path, show: Waiting
) -> tuple[RowSplits, tuple[str, ...]]:
    """The rows of all splits, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = read_splits(config, workdir, show)
    for each in caught:
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    texts = (str(each.message) for each in caught if each.category is UserWarning)
    return rows, tuple(dict.fromkeys(texts))


def _trained_on(config: TrainConfig, split: str, rows: Rows, encoder: Encoder) -> Rows:
    """The rows that have a reject to train on, where only some dimensions' are."""
    wanted = set(encoder.responses) - {"golden"}
    if not wanted or wanted >= set(config.data.dimensions):
        return rows
    chosen = [number for number, row in enumerate(rows) if wanted & row.rejects.keys()]
    if not chosen:
        raise ConfigError(
            f"method {config.method.name!r} trains on {', '.join(encoder.responses[1:])}, but no "
            f"{split} row has a reject of these"
        )
    return Chosen(rows, np.array(chosen))


def _set_aside(
    config: TrainConfig,
    workdir: pathlib.Path,
    split: str,
    rows: Rows,
    found: SplitTokens,
) -> None:
    """Writes the rows, and pairs of rows, that have no tokens to the rejected ones."""
    if not found.rejected:
        return
    bad = [(rows[index], problems) for index, problems in found.rejected.items()]
    if len(bad) == len(rows) and not len(found.examples):
        raise data.BadRowsError(problem for _, problems in bad for problem in problems)
    set_aside(rejected_file(config, workdir, "test" if split == "test" else "train"), bad)
