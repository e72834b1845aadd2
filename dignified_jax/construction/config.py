"""Configuration of a construction: rows, providers, verifier and audit, in frozen dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from dignified_jax import typed_config
from dignified_jax.construction import spending
from dignified_jax.endpoints.calls import CallSettings
from dignified_jax.typed_config import (
    Bounds,
    ConfigError,
    Count,
    NonNegative,
    Path,
    Place,
    Seed,
    SourcePath,
    check_bounds,
)

GENERATORS = ("scenario", "golden", "negative")
CHECK, AUDIT = "check", "audit"


@dataclasses.dataclass(frozen=True)
class CallsConfig:
    """How models are called.

    Attributes:
      temperature: of scenarios and replies; None leaves it to the provider. The verifier and the
        audit's judge are asked at 0.
      max_tokens: of an answer, thoughts included where a model has them.
      connections: calls to a provider at one time.
      attempt_seconds: after which a call that hangs is tried again.
      retries: of a call that fails, with growing pauses.
      prices: "MODEL=INPUT/OUTPUT" each: of a million tokens, for the cost in the progress line.
    """

    temperature: NonNegative | None = 1.0
    max_tokens: Count = 4096
    connections: Count = 10
    attempt_seconds: Count = 180
    retries: Annotated[int, Bounds("[0, 100]")] = 8
    prices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_bounds(self, "calls.")
        try:
            spending.parse_prices(self.prices)
        except ConfigError as error:
            raise ConfigError(f"calls.{error}", "calls.prices") from error

    def settings(self) -> dict[str, CallSettings]:
        """Returns stage -> how its models are called."""
        names = ("max_tokens", "connections", "attempt_seconds", "retries")
        rest = {name: getattr(self, name) for name in names}
        warm = dict.fromkeys(GENERATORS, CallSettings(self.temperature, **rest))
        return warm | dict.fromkeys((CHECK, AUDIT), CallSettings(0.0, **rest))


@dataclasses.dataclass(frozen=True)
class VerifierConfig:
    """The checks that a row has to pass.

    Attributes:
      model: a small one; asks S1 to S3, R1 to R3, N1 to N3, whether each dimension is needed, and
        for scores of golden and negative on every dimension.
      attempts: at each part of a row, the first one counted; then the row is set aside.
      most_loss: points of five that a negative may lose on a dimension that is not its own.
      similarity: from which two questions, or two golden replies, are near-duplicates.
      cosmetic: from which a negative is only an edited golden reply.
      length_rounds: how often negatives of a block may be asked for again for their length.
      stop_window: newest answers of a model that are looked at.
      stop_share: of these that can't be used, at which the run stops with a report.
    """

    model: str = ""
    attempts: Annotated[int, Bounds("[1, 20]")] = 3
    most_loss: Annotated[int, Bounds("[0, 4]")] = 1
    similarity: Annotated[float, Bounds("(0, 1]")] = 0.85
    cosmetic: Annotated[float, Bounds("(0, 1]")] = 0.9
    length_rounds: Annotated[int, Bounds("[0, 10]")] = 2
    stop_window: Annotated[int, Bounds("[2, 10000]")] = 40
    stop_share: Annotated[float, Bounds("(0, 1]")] = 0.75

    def __post_init__(self) -> None:
        check_bounds(self, "verifier.")


@dataclasses.dataclass(frozen=True)
class AuditConfig:
    """How accepted rows are audited.

    Attributes:
      rows: file of rows; "" for the ones made here.
      judge: a model that had no part in making the rows; "" for people alone.
      people: filled-in forms of people; the empty one is WORKDIR/audit/form.csv.
      sample: rows that are drawn.
      seed: of the sample.
    """

    rows: Path = ""
    judge: str = ""
    people: tuple[Path, ...] = ()
    sample: Count = 200
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_bounds(self, "audit.")


@dataclasses.dataclass(frozen=True)
class ConstructionConfig:
    """A construction, from anchor seeds to preference rows.

    Attributes:
      workdir: logs of all calls, rows, and what was set aside; the same command goes on there.
      rows: that are begun; more of them go on after those that are there.
      providers: models that write, as inspect_ai names them ("openai/gpt-5.1",
        "openai-api/LOCAL/name"); one of them is drawn for every stage of every row.
      anchors: "DIMENSION=KIND:FILE" of a public set or "DIMENSION=FILE" of preference rows; at
        least one of each dimension.
      dimensions: file of dimensions; "" for A, T, E, C.
      mix: shares of rows, "2:54.5" for two active dimensions or "A+T:10" for these.
      language: of the rows, in English words.
      length: of golden replies, least and most.
      length_unit: of lengths; characters where a language has no spaces between words.
      shots: examples of each active dimension.
      rows_at_once: rows that go through the stages together; the stop rule and the length check
        look at them before more are begun.
      prompts: directory whose files take the place of the package's prompts.
      extend: rows that the new ones are added to; they stay as they are.
      test: rows that no new one may be like; several files are allowed.
      until: "rows", or "audit", which looks at rows that are there.
      seed: of all draws.
      calls: how models are called.
      verifier: what a row has to pass.
      audit: how accepted rows are audited.
    """

    workdir: Place = "runs/construct"
    rows: Count = 100
    providers: tuple[str, ...] = ()
    anchors: tuple[str, ...] = ()
    dimensions: Path = ""
    mix: tuple[str, ...] = ("2:54.5", "3:36.4", "4:9.1")
    language: str = "English"
    length: tuple[Count, ...] = (80, 200)
    length_unit: Literal["words", "characters"] = "words"
    shots: Annotated[int, Bounds("[1, 20]")] = 2
    rows_at_once: Count = 32
    prompts: Path = ""
    extend: SourcePath = ""
    test: tuple[SourcePath, ...] = ()
    until: Literal["rows", "audit"] = "rows"
    seed: Seed = 0
    calls: CallsConfig = dataclasses.field(default_factory=CallsConfig)
    verifier: VerifierConfig = dataclasses.field(default_factory=VerifierConfig)
    audit: AuditConfig = dataclasses.field(default_factory=AuditConfig)

    def __post_init__(self) -> None:
        check_bounds(self, "")
        for name in ("workdir", "language"):
            if not getattr(self, name).strip():
                raise ConfigError(f"{name} must not be empty", name)
        if len(self.length) != 2 or self.length[0] > self.length[1]:
            raise ConfigError(f"length must be two numbers, least first, found {self.length}")
        if len(set(self.providers)) < len(self.providers):
            raise ConfigError(f"providers: expected distinct models, found {self.providers}")
        if self.until == "audit":
            return
        if not self.providers:
            raise ConfigError("providers must name at least one model, such as openai/gpt-5.1")
        if not self.verifier.model:
            raise ConfigError(
                "verifier.model must name a model, such as openai/gpt-4.1-nano", "verifier.model"
            )


def parse(values: Mapping[str, Any]) -> ConstructionConfig:
    """Makes the configuration of the values of its fields.

    Raises:
      ConfigError: names the field, what was found and what is allowed.
    """
    return typed_config.parse(ConstructionConfig, values)
