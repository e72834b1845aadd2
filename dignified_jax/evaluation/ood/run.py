"""The ways in: rows or requests and a model to tables of figures."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence

from dignified_jax.console.table import Table
from dignified_jax.console.waiting import waiting
from dignified_jax.data.schema.conversation import Prompt
from dignified_jax.data.template import load_template
from dignified_jax.evaluation.judging import endpoint
from dignified_jax.evaluation.judging.local import LocalJudge, LocalSettings
from dignified_jax.evaluation.ledger import Ledger
from dignified_jax.evaluation.models import LoadedModel, load
from dignified_jax.evaluation.ood import figures, judged, sycophancy, xstest
from dignified_jax.evaluation.ood.judged import Judging
from dignified_jax.evaluation.ood.sycophancy_rows import SycophancyRow
from dignified_jax.evaluation.ood.sycophancy_turns import Answered, Respond, ask
from dignified_jax.evaluation.rubrics import Rubric
from dignified_jax.files.json_digest import digest
from dignified_jax.generation import Request, Settings, generate
from dignified_jax.generation.prompts import stop_tokens

LOCAL = "local:"
STRINGS = "strings"

JudgeOf = Callable[[Rubric], Judging]
"""Gives a judge its rubric."""


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
    template = load_template(model.tokenizer)
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
        return lambda rubric: LocalJudge(model, rubric, LocalSettings())
    settings = endpoint.EndpointSettings()
    return lambda rubric: judged.by_endpoint(spec, rubric, settings, directory / rubric.name)


def score_sycophancy(
    model: str,
    rows: Sequence[SycophancyRow],
    respond: Respond,
    judge: tuple[str, JudgeOf] | None = None,
) -> list[Table]:
    """Asks a model the rows of SycophancyEval, and scores its replies.

    Args:
      model: label of the model.
      rows: of one kind.
      respond: the model.
      judge: a judge beside the strings, with its name.

    Returns:
      A table by strings, and one by the judge.
    """
    kind, answered = rows[0].kind, ask(rows, respond)
    found = {STRINGS: _score(kind, answered, None)}
    if judge is not None:
        name, make = judge
        with waiting(f"{name}: judging"):
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
    judge: tuple[str, JudgeOf] | None = None,
) -> list[Table]:
    """Asks a model the requests of XSTest, and classifies its completions.

    Arguments and result are as in `score_sycophancy`.
    """
    completions = respond({each.id: each.prompt for each in prompts})
    found = {STRINGS: xstest.score(prompts, completions)}
    if judge is not None:
        name, make = judge
        with waiting(f"{name}: judging"):
            pairs = [(each.prompt, completions[each.id]) for each in prompts]
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
