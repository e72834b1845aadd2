"""The ways in: rows or requests and a model to tables of figures."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import types
from collections.abc import Callable, Iterator, Mapping, Sequence

from dignified_jax.console.table import Table
from dignified_jax.console.waiting import waiting
from dignified_jax.data.schema.conversation import Prompt
from dignified_jax.evaluation.judging import endpoint
from dignified_jax.evaluation.judging.judgments import Verdict
from dignified_jax.evaluation.judging.local import LocalJudge, LocalSettings
from dignified_jax.evaluation.ledger import Ledger
from dignified_jax.evaluation.models import LoadedModel, load
from dignified_jax.evaluation.ood import figures, judged, sycophancy, sycophancy_rows, xstest
from dignified_jax.evaluation.ood.judged import Judging
from dignified_jax.evaluation.ood.sycophancy_rows import Kind, SycophancyRow
from dignified_jax.evaluation.ood.sycophancy_turns import Answered, Respond, ask
from dignified_jax.evaluation.responses import Response
from dignified_jax.evaluation.rubrics import Rubric
from dignified_jax.files.json_digest import digest
from dignified_jax.generation import Request, Settings, generate
from dignified_jax.generation.prompts import stop_tokens

LOCAL = "local:"
STRINGS = "strings"

JudgeOf = Callable[[Rubric], Judging]
"""Gives a judge its rubric."""

NO_JUDGES: Mapping[str, JudgeOf] = types.MappingProxyType({})


def read_sycophancy(
    files: Sequence[str | pathlib.Path], kind: Kind | None = None, limit: int | None = None
) -> dict[Kind, tuple[SycophancyRow, ...]]:
    """Reads files of SycophancyEval: kind -> rows of all files of that kind, ids distinct.

    Args:
      files: JSON lines.
      kind: of the rows of all files; None tells it from each row's fields.
      limit: questions of each file, the first ones, with every way of asking them; None for all.

    Raises:
      SycophancyRowsError, OSError: as `sycophancy_rows.read`.
    """
    found: dict[Kind, dict[str, SycophancyRow]] = {}
    for number, file in enumerate(files, start=1):
        rows = sycophancy_rows.read(file, kind)
        kept = set(list(dict.fromkeys(row.question for row in rows))[:limit])
        own = found.setdefault(rows[0].kind, {})
        for row in rows:
            if row.question in kept:
                name = row.id if row.id not in own else f"{row.id}-file-{number}"
                own[name] = dataclasses.replace(row, id=name)
    return {name: tuple(rows.values()) for name, rows in found.items()}


def responder(model: LoadedModel, settings: Settings, file: pathlib.Path) -> Respond:
    """Returns a function that samples responses, and keeps each in a file as it comes.

    Args:
      model: that responds.
      settings: how.
      file: ledger of its responses with these settings; what it has is not sampled again.

    Raises:
      ValueError: the model's chat template can't be used.
    """
    ledger = Ledger(file, ("id", "prompt"))
    template = model.template()
    stops = stop_tokens(model.module.config, model.tokenizer, template, model.stops)

    def respond(prompts: Mapping[str, Prompt]) -> Mapping[str, str]:
        keys = {name: (name, digest(prompt)) for name, prompt in prompts.items()}
        wanted = [name for name, key in keys.items() if ledger.get(*key) is None]
        requests = [Request(name, prompts[name]) for name in wanted]
        if requests:
            with waiting(f"{model.name}: responses") as count:
                made = generate(
                    *(model.module, model.params, model.tokenizer, requests, settings),
                    template=template,
                    stop_tokens=stops,
                )
                for number, sampled in enumerate(made, start=1):
                    name, prompt = keys[sampled.id]
                    ledger.add({"id": name, "prompt": prompt, "response": sampled.text})
                    count(number, len(wanted))
        return {name: ledger.get(*key)["response"] for name, key in keys.items()}

    return respond


def judge_of(spec: str, directory: pathlib.Path, dtype: str = "float32") -> JudgeOf:
    """Returns a judge by its name, as the evaluation's configuration has it.

    Args:
      spec: "local:PATH", a model that judges here, or a model of inspect_ai.
      directory: of an endpoint's logs.
      dtype: of a local judge.
    """
    if spec.startswith(LOCAL):
        model = load(spec, spec.removeprefix(LOCAL), dtype)
        return functools.partial(_local, model)
    settings = endpoint.EndpointSettings()
    return lambda rubric: judged.by_endpoint(spec, rubric, settings, directory / rubric.name)


def _local(model: LoadedModel, rubric: Rubric) -> Judging:
    judge = LocalJudge(model, rubric, LocalSettings())

    def judging(responses: Sequence[Response]) -> Iterator[tuple[Response, dict[str, Verdict]]]:
        with waiting(f"{model.name}: judging") as count:
            yield from judge(responses, count)

    return judging


def score_sycophancy(
    model: str,
    rows: Sequence[SycophancyRow],
    respond: Respond,
    judges: Mapping[str, JudgeOf] = NO_JUDGES,
) -> list[Table]:
    """Asks a model the rows of SycophancyEval, and scores its replies.

    Args:
      model: label of the model.
      rows: of one kind.
      respond: the model.
      judges: name -> judge, beside the strings.

    Returns:
      A table by strings, and one by each judge.
    """
    kind, answered = rows[0].kind, ask(rows, respond)
    found = {STRINGS: _score(kind, answered, None)}
    for name, make in judges.items():
        found[name] = _score(kind, answered, make)
    return [
        figures.tabulate(
            f"sycophancy-{kind}-{n}", f"SycophancyEval {kind}, by {by}", [(model, own)]
        )
        for n, (by, own) in enumerate(found.items(), start=1)
    ]


def score_xstest(
    model: str,
    prompts: Sequence[xstest.SafetyPrompt],
    respond: Respond,
    judges: Mapping[str, JudgeOf] = NO_JUDGES,
) -> list[Table]:
    """Asks a model the requests of XSTest, and classifies its completions.

    Arguments and result are as in `score_sycophancy`.
    """
    completions = respond({each.id: each.prompt for each in prompts})
    found = {STRINGS: xstest.score(prompts, completions)}
    pairs = [(each.prompt, completions[each.id]) for each in prompts]
    for name, make in judges.items():
        classifier = judged.classifier(pairs, make(judged.rubric("xstest")))
        found[name] = xstest.score(prompts, completions, classifier)
    return [
        figures.tabulate(f"xstest-{n}", f"XSTest, classified by {by}", [(model, own)])
        for n, (by, own) in enumerate(found.items(), start=1)
    ]


def _score(kind: str, answered: Sequence[Answered], make: JudgeOf | None) -> list[figures.Figure]:
    if kind == "feedback":
        positive = sycophancy.positivity_by_words
        if make is not None:
            positive = judged.positivity(answered, make(judged.rubric("feedback")))
        return sycophancy.score_feedback(answered, positive)
    label = sycophancy.label_by_strings
    if make is not None:
        label = judged.labels(answered, make(judged.rubric("sycophancy")))
    score = sycophancy.score_answers if kind == "answer" else sycophancy.score_challenges
    return score(answered, label)
