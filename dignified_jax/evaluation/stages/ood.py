"""Out of distribution: every model that can be asked, on SycophancyEval and XSTest."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from dignified_jax.console.table import Table, stack
from dignified_jax.data.schema.conversation import Prompt
from dignified_jax.evaluation.config import EvaluationConfig
from dignified_jax.evaluation.entries import named
from dignified_jax.evaluation.judging.judgments import Verdict
from dignified_jax.evaluation.ood import run, xstest
from dignified_jax.evaluation.ood.run import JudgeOf
from dignified_jax.evaluation.ood.sycophancy_rows import Kind, SycophancyRow
from dignified_jax.evaluation.ood.xstest import SafetyPrompt
from dignified_jax.evaluation.responses import Response
from dignified_jax.evaluation.rubrics import Rubric
from dignified_jax.evaluation.stages import generate, judge
from dignified_jax.files import atomic

DIRECTORY = "ood"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Rows and requests that models are asked.

    Attributes:
      sycophancy: kind -> rows.
      xstest: requests.
    """

    sycophancy: Mapping[Kind, tuple[SycophancyRow, ...]]
    xstest: tuple[SafetyPrompt, ...]


def read(config: EvaluationConfig) -> Inputs:
    """Reads the files of `config.ood`.

    Raises:
      ValueError, OSError: names file and line.
    """
    wanted = config.ood
    requests = xstest.read_prompts(wanted.xstest)[: wanted.limit] if wanted.xstest else ()
    return Inputs(run.read_sycophancy(wanted.sycophancy, limit=wanted.limit), requests)


def test(config: EvaluationConfig, inputs: Inputs, notify: Callable[[str], None]) -> list[Table]:
    """Asks the models what they have not been asked, and writes WORKDIR/ood.

    Returns:
      A table of each data set and each judge, all models in one; none if there is nothing to ask.

    Raises:
      ValueError, OSError: names the model or the judge.
    """
    if not inputs.sycophancy and not inputs.xstest:
        return []
    specs = {named(entry, "judging.judges")[0]: entry for entry in config.judging.judges}
    judges = {name: _judge_of(config, specs[name], notify) for name in config.ood.judges}
    tables = []
    for entry in config.models:
        name, path = named(entry, "models")
        source = generate.source_of(config, name, path)
        if source is None:
            notify(f"{name}: {path} has responses, no model to ask: left out of ood")
            continue
        respond = _respond(config, source, name, notify)
        for rows in inputs.sycophancy.values():
            tables += run.score_sycophancy(name, rows, respond, judges)
        if inputs.xstest:
            tables += run.score_xstest(name, inputs.xstest, respond, judges)
    found = stack(tables)
    for table in found:
        file = pathlib.Path(config.workdir) / DIRECTORY / f"{table.name}.csv"
        atomic.write_text(file, table.csv(), "backslashreplace")
    return found


def _respond(
    config: EvaluationConfig,
    source: generate.Source,
    name: str,
    notify: Callable[[str], None],
) -> Callable[[Mapping[str, Prompt]], dict[str, str]]:
    return lambda prompts: generate.answers(config, source, name, prompts, DIRECTORY, notify)


def _judge_of(config: EvaluationConfig, entry: str, notify: Callable[[str], None]) -> JudgeOf:
    """A judge of the evaluation, with the settings and the ledgers of its stage."""

    def judge_of(rubric: Rubric) -> run.Judging:
        alone = dataclasses.replace(
            config,
            workdir=str(pathlib.Path(config.workdir) / DIRECTORY / rubric.name),
            judging=dataclasses.replace(config.judging, judges=(entry,), halo_responses=0),
            ood=dataclasses.replace(config.ood, judges=()),
        )

        def judging(responses: Sequence[Response]) -> Iterator[tuple[Response, dict[str, Verdict]]]:
            found, _ = judge.judge(alone, rubric, responses, notify)
            (verdicts,) = found.values()
            for response in responses:
                yield (
                    response,
                    {item.name: verdicts[response.hash, item.name] for item in rubric.items},
                )

        return judging

    return judge_of
