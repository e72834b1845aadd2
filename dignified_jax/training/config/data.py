"""Configuration of a run's data: sources, their shares and format, and how rows become batches."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from dignified_jax.data import ANCHOR_KINDS, DIMENSIONS
from dignified_jax.data.schema import Groups, check_dimensions, parse_groups
from dignified_jax.typed_config import (
    Bounds,
    ConfigError,
    Path,
    Paths,
    SourcePath,
    check_bounds,
)

EMBEDDED_TEST = "embedded:personaknob_mini/test.jsonl"
PUBLISHED_TESTS: Mapping[str, str] = {
    "": EMBEDDED_TEST,  # anchors alone, which are about the dimensions of these
    "embedded:personaknob_mini/train.jsonl": EMBEDDED_TEST,
    "qisein/PersonaKnob": "qisein/PersonaKnob:test",
    "qisein/PersonaKnob:train": "qisein/PersonaKnob:test",
}
"""Training rows -> the test rows that they are published with."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where rows come from and how they become batches.

    Attributes:
      train, test: path (.jsonl, .json or .csv, also as .gz, or .parquet), hub id
        ("owner/name", "owner/name:split", "owner/name@revision:configuration:split"),
        "embedded:NAME", or several of these. train may be empty where there are anchors. test None
        means the published test rows where train is published with some (PersonaKnob, the embedded
        rows, and these for anchors alone); where train is your own, the validation rows.
      weights: share of each source of train in every epoch, in any unit; () uses every row once an
        epoch. An epoch has as many examples as there are, weighted or not: a source with fewer
        than its share begins again in another order, and one with more goes on in the next epoch.
      format: columns of the rows: "rejects" has golden, mask and reject_NAME, "pairs" has prompt,
        chosen, rejected and dimension.
      dimension: of pairs that don't name theirs: one for all sources, or one for each of train, and
        of test if it has as many. Where dimensions has one name, it is that.
      anchors: "KIND:PATH" of public supervised sets to train on as well; kinds are sycophancy,
        truthfulqa, empathetic_dialogues and writing_prompts (`data.anchors`). Their rows have no
        reject, so they are for methods without a reference.
      dimensions: names of the 1 to 16 dimensions that the rows are about, in the order of all
        per-dimension fields; each has a column reject_NAME.
      groups: "NAME:DIMENSION+DIMENSION" of groups that methods and reports name; () stands for
        Peer:E+C and Dignity:A+T where the dimensions are A, T, E and C.
      validation_fraction: share of the training prompts held out for evaluation while training.
      on_bad_row: "error" stops, listing every bad row; "skip" writes them to
        WORKDIR/rejected_*.jsonl and goes on without them.
      row_length: tokens in one packed row.
      max_length: most tokens of one prompt and one response together; None means row_length, or
        the model's max_position_embeddings where that is less.
      on_too_long: for examples that exceed either: "error"; "truncate" cuts the prompt's text
        from the left, and drops what is too long even so; "drop". The counts are printed.
      chat_template: path of a Jinja chat template that replaces the tokenizer's own.
      chat_template_kwargs: JSON object of arguments for the template, such as
        '{"enable_thinking": false}'.
      cache: directory of token ids, which another start on the same rows, tokenizer, template and
        limits reads instead of tokenising again; None means that of DIGNIFIED_JAX_CACHE where it
        is set, else ~/.cache/dignified_jax.
      cache_gib: size in GiB from which on the cache loses what was used longest ago; 0 keeps
        nothing.
    """

    train: Paths = "embedded:personaknob_mini/train.jsonl"
    test: Paths | None = None
    weights: tuple[Annotated[float, Bounds("(0, inf)")], ...] = ()
    format: Literal["rejects", "pairs"] = "rejects"
    dimension: tuple[str, ...] = ()
    anchors: tuple[SourcePath, ...] = ()
    dimensions: tuple[str, ...] = DIMENSIONS
    groups: tuple[str, ...] = ()
    validation_fraction: Annotated[float, Bounds("[0, 1)")] = 0.1
    on_bad_row: Literal["error", "skip"] = "error"
    row_length: Annotated[int, Bounds("[2, 1048576]")] = 4096
    max_length: Annotated[int, Bounds("[2, 1048576]")] | None = None
    on_too_long: Literal["error", "truncate", "drop"] = "error"
    chat_template: Path | None = None
    chat_template_kwargs: str = "{}"
    cache: Path | None = None
    cache_gib: Annotated[float, Bounds("[0, 1048576]")] = 20.0

    @property
    def train_sources(self) -> tuple[str, ...]:
        """The sources of training rows, none where there are anchors alone."""
        return _several(self.train) if self.train else ()

    @property
    def test_source(self) -> str | tuple[str, ...] | None:
        """The test rows that are given, else those published with the training rows, if any."""
        return _published_test(self.train) if self.test is None else self.test

    @property
    def test_sources(self) -> tuple[str, ...]:
        """The sources of test rows, none where validation rows take their place."""
        source = self.test_source
        return () if source is None else _several(source)

    @property
    def test_rows(self) -> str:
        """The rows of the final table, in words."""
        if self.test_source is None:
            return f"validation rows of {' and '.join(self.train_sources)}"
        return f"rows of {' and '.join(self.test_sources)}"

    def dimension_of(self, sources: tuple[str, ...], number: int) -> str | None:
        """Returns the dimension of pairs that don't name theirs, in one of the sources."""
        if len(self.dimension) < 2:
            return self.dimension[0] if self.dimension else None
        return self.dimension[number] if len(sources) == len(self.dimension) else None

    def __post_init__(self) -> None:
        check_bounds(self, "data.")
        try:
            check_dimensions(self.dimensions)
        except ValueError as error:
            raise ConfigError(f"data.{error}", "data.dimensions") from error
        try:
            parse_groups(self.groups, self.dimensions)
        except ValueError as error:
            raise ConfigError(f"data.{error}", "data.groups") from error
        self._check_sources()
        for anchor in self.anchors:
            kind, _, path = anchor.partition(":")
            if kind not in ANCHOR_KINDS or not path:
                raise ConfigError(
                    f"data.anchors must be KIND:PATH with KIND one of {', '.join(ANCHOR_KINDS)}, "
                    f"found {anchor!r}"
                )
        if not self.train and not self.anchors:
            raise ConfigError("data.train is empty, and so is data.anchors; give one of them")
        if self.max_length is not None and self.max_length > self.row_length:
            raise ConfigError(
                f"data.max_length must be at most data.row_length ({self.row_length}), "
                f"found {self.max_length}",
                "data.max_length",
            )
        try:
            ok = isinstance(json.loads(self.chat_template_kwargs), dict)
        except (ValueError, RecursionError):
            ok = False
        if not ok:
            raise ConfigError(
                f"data.chat_template_kwargs must be a JSON object, "
                f"found {self.chat_template_kwargs!r}"
            )

    def _check_sources(self) -> None:
        for name, sources in (("train", self.train_sources), ("test", self.test_sources)):
            if not all(sources) or len(set(sources)) < len(sources):
                raise ConfigError(f"data.{name} must be distinct sources, found {sources}")
        if self.weights:
            count = len(self.train_sources)
            if self.anchors or count < 2:
                other = "data.anchors" if self.anchors else "a single source in data.train"
                raise ConfigError(f"data.weights contradicts {other}")
            if len(self.weights) != count:
                raise ConfigError(
                    f"data.weights must be one number for each of the {count} sources in "
                    f"data.train, found {len(self.weights)}"
                )
        if not self.dimension:
            return
        if self.format != "pairs":
            raise ConfigError(f"data.dimension contradicts data.format={self.format!r}")
        if unknown := [name for name in self.dimension if name not in self.dimensions]:
            raise ConfigError(
                f"data.dimension must be out of {', '.join(self.dimensions)}, found {unknown[0]!r}"
            )
        if len(self.dimension) not in (1, len(self.train_sources)):
            raise ConfigError(
                f"data.dimension must be one name, or one for each of the "
                f"{len(self.train_sources)} sources in data.train, found {len(self.dimension)}"
            )

    @property
    def named_groups(self) -> Groups:
        """Name -> dimensions of every group."""
        return parse_groups(self.groups, self.dimensions)


def _published_test(train: str | tuple[str, ...]) -> str | None:
    """The test rows of training rows, of the same revision."""
    if not isinstance(train, str):
        return None
    name, at, revision = re.fullmatch(r"([^@:]*)(@?)([^:]*).*", train, re.DOTALL).groups()
    if not (name and at):  # a file may begin with "@"
        return PUBLISHED_TESTS.get(train)
    found = PUBLISHED_TESTS.get(train.replace(f"@{revision}", "", 1))
    return None if found is None else found.replace(name, f"{name}@{revision}", 1)


def _several(sources: str | tuple[str, ...]) -> tuple[str, ...]:
    return (sources,) if isinstance(sources, str) else sources
