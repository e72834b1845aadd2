"""Configuration of an evaluation: models, prompts, judges, scores, in frozen dataclasses."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from dignified_jax import typed_config
from dignified_jax.cluster.settings import DistributedConfig
from dignified_jax.evaluation.entries import check_judge, named
from dignified_jax.evaluation.judging.endpoint import EndpointSettings
from dignified_jax.evaluation.judging.local import LocalSettings
from dignified_jax.evaluation.judging.rules import NAMES as RULES
from dignified_jax.files.json_digest import digest
from dignified_jax.generation.settings import Settings
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
    object_argument,
)


@dataclasses.dataclass(frozen=True)
class JudgingConfig:
    """Who judges, and how.

    Attributes:
      judges: "rules-lenient" and "rules-strict" (word lists, no model: for demonstrations);
        "local:PATH", a model that judges here, by the log-odds of two answers; any other is a
        model of inspect_ai, such as "openai/gpt-4.1" or "openai-api/LOCAL/name". "NAME=" before
        it gives a label of your own; a judge with a model's label is one of its own answers.
      items_per_call: rubric items an endpoint is asked in one call; 1 asks each by itself.
      halo_responses: so many responses of each endpoint judge are asked item by item too, and the
        difference is reported.
      temperature: of endpoints; None leaves it to them.
      max_tokens: of an endpoint's answer.
      connections: calls to an endpoint at one time.
      attempt_seconds: after which a call that hangs is tried again.
      retries: of a call that fails.
      answers: of local judges, when a statement is true, and when it is not.
      threshold: log-odds, in nats, above which a local judge's item counts as true.
      neutral: whether a local judge's log-odds of a response without content are taken off.
    """

    judges: tuple[str, ...] = RULES
    items_per_call: Count = 12
    halo_responses: Annotated[int, Bounds("[0, inf)")] = 0
    temperature: NonNegative | None = 0.0
    max_tokens: Count = 1024
    connections: Count = 10
    attempt_seconds: Count = 120
    retries: Annotated[int, Bounds("[0, 100]")] = 8
    answers: tuple[str, ...] = ("Yes", "No")
    threshold: float = 0.0
    neutral: bool = False

    def __post_init__(self) -> None:
        check_bounds(self, "judging.")
        if not self.judges:
            raise ConfigError("judging.judges needs at least one judge", "judging.judges")
        for entry in self.judges:
            check_judge(named(entry, "judging.judges")[1])
        if len(self.answers) != 2 or len(set(self.answers)) < 2:
            raise ConfigError(
                f"judging.answers must be two words, found {self.answers}", "judging.answers"
            )

    def endpoint(self) -> EndpointSettings:
        """The settings of endpoints."""
        names = [field.name for field in dataclasses.fields(EndpointSettings)]
        return EndpointSettings(**{name: getattr(self, name) for name in names})

    def local(self) -> LocalSettings:
        """The settings of local judges."""
        first, second = self.answers
        return LocalSettings((first, second), self.threshold, self.neutral)


@dataclasses.dataclass(frozen=True)
class ScoringConfig:
    """How judgments become scores.

    Attributes:
      method: of `mfrm.fit`: "quadrature" estimates how much answers and questions differ;
        "laplace" does so by an approximation, in about a third of the time; "ridge" takes 1
        for all precisions, and keeps judges and items with only 1s or only 0s finite.
      center: "model", a mean of its own for each; or "grand", one for all, which shrinks the
        differences between models and keeps one with only 1s or only 0s finite.
      replicates: of the bootstrap over questions that standard errors come from.
      seed: of its samples.
      baseline: model that changes are from; "" for the first one.
    """

    method: Literal["quadrature", "laplace", "ridge"] = "quadrature"
    center: Literal["model", "grand"] = "model"
    replicates: Annotated[int, Bounds("[2, 100000]")] = 100
    seed: Seed = 0
    baseline: str = ""

    def __post_init__(self) -> None:
        check_bounds(self, "scoring.")


@dataclasses.dataclass(frozen=True)
class OodConfig:
    """Tests out of distribution of the models that can be asked, in their publishers' files.

    Attributes:
      sycophancy: SycophancyEval's answer.jsonl, feedback.jsonl or are_you_sure.jsonl.
      xstest: XSTest's requests, a CSV file; "" for none.
      limit: questions of each file, the first ones, with every way of asking; None for all.
      judges: names of `judging.judges` that read the replies, beside strings; no rules.
    """

    sycophancy: tuple[Path, ...] = ()
    xstest: Path = ""
    limit: Count | None = None
    judges: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_bounds(self, "ood.")


@dataclasses.dataclass(frozen=True)
class UtilityConfig:
    """General benchmarks of the models whose weights are here, by lm-evaluation-harness.

    Attributes:
      tasks: its names, such as "mmlu" or "bbh", or those of files in `include`; none: no stage.
      include: directory of task files of one's own (YAML); "" for none.
      limit: documents of each task, the first ones; None for all.
      few_shots: worked examples before each document; None for what the task says.
      chat_template: whether contexts are turns of a conversation.
      seed: of the choice of worked examples.
    """

    tasks: tuple[str, ...] = ()
    include: Path = ""
    limit: Count | None = None
    few_shots: Annotated[int, Bounds("[0, inf)")] | None = None
    chat_template: bool = False
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_bounds(self, "utility.")


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """An evaluation, from models and prompts to a report.

    Attributes:
      workdir: responses, judgments, scores and the report; the same command goes on there.
      models: "NAME=PATH" each: a Hugging Face directory, hub id or embedded:NAME, a run directory
        or checkpoint (LoRA too), or a .jsonl file of given responses ({"id", "response"}).
        "NAME=MODEL@http://HOST/v1" is a model of an OpenAI-compatible server, its key in
        OPENAI_API_KEY. "NAME=train:CONFIG" is the run of a training configuration, or a short one
        made here.
      prompts: .jsonl of {"id", "prompt"}, or preference rows, whose prompts are taken.
      most_prompts: of the prompts, the first ones; None for all.
      ratings: a table of ratings to score (model, question, judge, rubric, score), in place of
        models, prompts and judges.
      rubric: file of rubric items; "" for the persona rubric, A1 to C3.
      tables: JSON files of further tables for the report, as `console.table.Table.json` makes them.
      dtype: of local models, those that judge among them.
      chat_template_kwargs: JSON object of arguments for the chat templates of models, those that
        judge here among them, such as {"enable_thinking": false}; servers are sent it; "" for none,
        of a run those that it was trained with.
      until: the last stage to run.
      generation: how models respond.
      judging: who judges.
      scoring: how judgments become scores.
      ood: sycophancy and exaggerated safety.
      utility: general benchmarks.
      distributed: how the processes of the evaluation find each other.
    """

    workdir: Place = "runs/evaluate"
    models: tuple[str, ...] = ()
    prompts: SourcePath = "embedded:personaknob_mini/test.jsonl"
    most_prompts: Count | None = None
    ratings: Path = ""
    rubric: Path = ""
    tables: tuple[Path, ...] = ()
    dtype: Literal["float32", "bfloat16"] = "float32"
    chat_template_kwargs: str = ""
    until: Literal["generate", "judge", "ood", "utility", "report"] = "report"
    generation: Settings = dataclasses.field(default_factory=Settings)
    judging: JudgingConfig = dataclasses.field(default_factory=JudgingConfig)
    scoring: ScoringConfig = dataclasses.field(default_factory=ScoringConfig)
    ood: OodConfig = dataclasses.field(default_factory=OodConfig)
    utility: UtilityConfig = dataclasses.field(default_factory=UtilityConfig)
    distributed: DistributedConfig = dataclasses.field(default_factory=DistributedConfig)

    def __post_init__(self) -> None:
        check_bounds(self, "")
        if not self.workdir:
            raise ConfigError("workdir must not be empty", "workdir")
        if bool(self.models) == bool(self.ratings):
            raise ConfigError(
                "models must be given, or a table of ratings in their place (ratings); not both",
                "models",
            )
        for field, entries in (("models", self.models), ("judging.judges", self.judging.judges)):
            names = [named(entry, field)[0] for entry in entries]
            if len({name.casefold() for name in names}) < len(names):
                raise ConfigError(f"{field}: expected distinct names, found {names}", field)
            known = names if field == "models" and names else [self.scoring.baseline]
            if self.scoring.baseline and self.scoring.baseline not in known:
                raise ConfigError(
                    f"scoring.baseline must be one of {', '.join(known)}, found "
                    f"{self.scoring.baseline!r}",
                    "scoring.baseline",
                )

        try:
            self.template_kwargs()
        except argparse.ArgumentTypeError as error:
            field = "chat_template_kwargs"
            raise ConfigError(f"{field}: {error}", field) from error
        self._check_tests()

    def template_kwargs(self) -> dict[str, Any] | None:
        """Returns `chat_template_kwargs` as such; None where there are none."""
        return object_argument(self.chat_template_kwargs) if self.chat_template_kwargs else None

    def _check_tests(self) -> None:
        """Refuses tests of models where there are none, and judges of them that are not known."""
        asked = {"ood": self.ood.sycophancy or self.ood.xstest, "utility": self.utility.tasks}
        for field, given in asked.items():
            if given and self.ratings:
                raise ConfigError(f"{field} needs models, found a table of ratings", field)
        entries = [named(entry, "judging.judges") for entry in self.judging.judges]
        models = [name for name, spec in entries if spec not in RULES]
        for name in self.ood.judges:
            if name not in models:
                raise ConfigError(
                    f"ood.judges: expected names of judging.judges that are no rules "
                    f"({', '.join(models) or 'there is none'}), found {name!r}",
                    "ood.judges",
                )

    @property
    def hash(self) -> str:
        """16 hexadecimal digits of everything but where it lies."""
        fields = typed_config.as_dict(self)
        apart = ("workdir", "until", "distributed")
        return digest({k: v for k, v in fields.items() if k not in apart})


def parse(values: Mapping[str, Any]) -> EvaluationConfig:
    """Makes the configuration of the values of its fields.

    Raises:
      ConfigError: names the field, what was found and what is allowed.
    """
    return typed_config.parse(EvaluationConfig, values)
