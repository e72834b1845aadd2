"""The token ids of every split, from the cache where they are there and the rows are known."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from dignified_jax import data, typed_config
from dignified_jax.cluster import members
from dignified_jax.console.waiting import ShowCount, Waiting, waiting
from dignified_jax.data.rejected import forget, set_aside
from dignified_jax.data.store import cache as token_cache
from dignified_jax.data.store import workers
from dignified_jax.data.store.arrays import Arrays
from dignified_jax.data.store.cache import Entry
from dignified_jax.data.tokenize import ROWS_A_CALL, Encoder
from dignified_jax.embedded import resolve
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.inputs import dealt, spread, tokens
from dignified_jax.training.inputs.contents import Contents, of_sources
from dignified_jax.training.inputs.rows import Rows, RowSplits, read_splits, rejected_file
from dignified_jax.training.inputs.text_encoder import TextEncoder
from dignified_jax.training.inputs.tokens import SplitTokens
from dignified_jax.training.inputs.trained_rows import trained_on
from dignified_jax.training.run import fingerprint

# Of the settings of data: what does not change how the rows of a split are read.
_APART = {
    *("train", "test", "anchors", "weights", "validation_fraction", "groups"),
    *("chat_template", "chat_template_kwargs", "cache", "cache_gib"),
}
Notify = Callable[[str], None]
Digests = Mapping[str, tuple[str, str | None]]
"""Source, as it is named -> its file, and the digest of its content where that is known."""


@dataclasses.dataclass(frozen=True)
class _Start:
    """All that the tokens of a run are made with.

    Attributes:
      config, workdir: the run's.
      encoders: by split.
      cache: of this process.
      show: shows what is waited for.
      dealt: whether several processes share the rows.
    """

    config: TrainConfig
    workdir: pathlib.Path
    encoders: Mapping[str, Encoder]
    cache: token_cache.Cache
    show: Waiting
    dealt: bool


def tokens_of_splits(
    config: TrainConfig, workdir: pathlib.Path, encoder: TextEncoder, notify: Notify | None
) -> dict[str, SplitTokens]:
    """Returns the tokens of each split, "validation" and "test" only where there are any.

    Rows are not read where the cache has all of them. Of several processes the first one reads
    them, and each tokenises its share.

    Args:
      config: the run's.
      workdir: rejected rows are written here when `data.on_bad_row` is "skip".
      encoder: the run's.
      notify: shows a line to a person; None shows nothing, nor what is being waited for.

    Raises:
      BadRowsError, ValueError, FileNotFoundError: see `dignified_jax.data`.
      ConfigError: a method has nothing to train on; or this process has other files of rows or
        another tokenizer than the first one.
    """
    first = jax.process_index() == 0
    show: Waiting = functools.partial(waiting, visible=notify is not None and first)
    shared = dealt.begin()
    start = _Start(
        config,
        workdir,
        {name: encoder.encoder(config, name) for name in _names(config)},
        _cache(config, encoder, notify),
        dealt.moving(show) if shared else show,
        shared,
    )
    if shared:
        members.agree("inputs", encoder.identity)
    contents = of_sources(config.data, start.show, shared) if start.cache.keeps or shared else {}
    keys = _keys(start, contents) if start.cache.keeps else {}
    found = {}
    for name, key in keys.items():
        with start.show(f"reading {name} token ids", share=True) as count:
            if entry := start.cache.find(key, count):
                found[name] = entry
    whole = found.keys() == start.encoders.keys() and all(
        entry.notes["clean"] for entry in found.values()
    )
    if whole and first:
        for text in dict.fromkeys(t for entry in found.values() for t in entry.notes["warnings"]):
            warnings.warn(text, stacklevel=2)
    if whole:
        _forget_rejected(config, workdir)
    members.again("comparing caches of token ids", "long")
    if not (spread.on_all(whole) if shared else whole):
        found = _made(start, keys, found, whole)
    renamed = {file: resolve(name) for name, (file, _) in contents.items()}
    return {name: tokens.read(entry, renamed) for name, entry in found.items()}


def _made(
    start: _Start, keys: Mapping[str, str], found: Mapping[str, Entry], whole: bool
) -> dict[str, Entry]:
    """The entries, made of rows where this process or another has not all of them."""
    made: dict[str, tuple[str, Entry]] = {}
    if whole:
        made = {name: (keys[name], entry) for name, entry in found.items()}
    if start.dealt and jax.process_index():
        dealt.serve(start.encoders)
    elif not whole:
        members.again("reading rows", "job")
        made = _of_rows_read(start, keys, found)
    if not start.dealt:
        return {name: entry for name, (_, entry) in made.items()}
    if jax.process_index() == 0:
        dealt.finish()
    return spread.spread(made, start.cache)


def _of_rows_read(
    start: _Start, keys: Mapping[str, str], found: Mapping[str, Entry]
) -> dict[str, tuple[str, Entry]]:
    """Name -> (key, entry), after the rows were read."""
    config, cache = start.config, start.cache
    rows, said = _read_rows(config, start.workdir, start.show)
    # While they were read.
    changed = cache.keeps and _keys(start, of_sources(config.data, start.show)) != keys
    made = {}
    for name, encoder in start.encoders.items():
        split = trained_on(config, name, getattr(rows, name), encoder.responses)
        key = None if changed else keys.get(name)
        entry = None if changed else found.get(name)
        if key is None and cache.keeps:
            key = tokens.key(_of_rows(split), encoder, _settings(config))
            entry = cache.find(key)
        if entry is None:
            with start.show(f"tokenising {name} rows") as progress:
                fill = functools.partial(_fill, start, name, split, said, progress)
                entry = cache.make(key or "", fill)
        _set_aside(config, start.workdir, name, split, entry)
        made[name] = key or "", entry
    return made


def _fill(
    start: _Start,
    name: str,
    rows: Rows,
    said: Sequence[str],
    progress: ShowCount,
    arrays: Arrays,
) -> dict[str, Any]:
    encoder, settings = start.encoders[name], start.config.data
    encode: tokens.Encode = functools.partial(
        workers.map_in_order, encoder, count=tokens.workers_for(len(rows))
    )
    together = ROWS_A_CALL
    if start.dealt:
        encode = functools.partial(
            dealt.encode, name, encoder, rows=len(rows), dimensions=settings.dimensions
        )
        together = min(together, -(-len(rows) // jax.process_count()))
    notes = tokens.fill(arrays, rows, encode, settings.on_bad_row, progress, together)
    # Bad rows are set aside anew in every run directory, which takes the rows.
    clean = not notes["rejected"] and not any("were skipped" in text for text in said)
    return {**notes, "clean": clean, "warnings": said}


def _keys(start: _Start, contents: Contents) -> dict[str, str]:
    """The key of each split whose rows are known by the content of their sources."""
    settings = _settings(start.config)
    digests = {
        name: (file, content and content.digest()) for name, (file, content) in contents.items()
    }
    parts = {name: _part(start.config, name, digests) for name in start.encoders}
    return {
        name: tokens.key(part, start.encoders[name], settings)
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
        in_memory=jax.process_count() == 1,
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


def _forget_rejected(config: TrainConfig, workdir: pathlib.Path) -> None:
    """Takes rows that were bad at an earlier start off the rejected ones, as none is bad now."""
    of_data = {"train": config.data.train_sources, "test": config.data.test_sources}
    for name, sources in of_data.items():
        file = rejected_file(config, workdir, name)
        if file is not None:
            forget(file, {resolve(source) for source in sources})


def _set_aside(
    config: TrainConfig,
    workdir: pathlib.Path,
    split: str,
    rows: Rows,
    entry: Entry,
) -> None:
    """Writes the rows, and pairs of rows, that have no tokens to the rejected ones."""
    bad = [(rows[index], problems) for index, problems in tokens.rejected_of(entry).items()]
    if not bad:
        return
    if len(bad) == len(rows) and not len(entry.arrays["indices"]):
        raise data.BadRowsError(problem for _, problems in bad for problem in problems)
    set_aside(rejected_file(config, workdir, "test" if split == "test" else "train"), bad)
