"""Judges behind an endpoint: a call is a response and the items asked in it.

A call's id has the hashes of response, rubric and wording, so a changed text is another call;
`endpoints.calls` makes each once.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence

from dignified_jax.console.waiting import waiting
from dignified_jax.endpoints import calls as endpoint_calls
from dignified_jax.endpoints.calls import CallSettings, EndpointError, one_line
from dignified_jax.endpoints.logs import Answer, CallLog
from dignified_jax.evaluation.judging import prompts
from dignified_jax.evaluation.judging.answers import read_answer
from dignified_jax.evaluation.judging.judgments import Judge, Verdict, Verdicts
from dignified_jax.evaluation.responses import Response
from dignified_jax.evaluation.rubrics import Item, Rubric
from dignified_jax.files.json_digest import digest

TASK = "judge_responses"


@dataclasses.dataclass(frozen=True)
class EndpointSettings(CallSettings):
    """How judges are asked.

    Attributes:
      items_per_call: most rubric items in one call. One keeps an item's answer free of the others'
        (halo), at as many times the calls.
    """

    items_per_call: int = 12


def judge_of(model: str, settings: EndpointSettings) -> Judge:
    """Returns who judges: an inspect_ai model name; the hash covers wording and settings."""
    return Judge(model, "endpoint", digest([model, settings_hash(settings)]))


def settings_hash(settings: EndpointSettings) -> str:
    """Returns 16 hexadecimal digits of the wording and of what an answer depends on."""
    told = [settings.items_per_call, settings.temperature, settings.max_tokens]
    return digest([prompts.template_hash("json"), *told])


def chunks(rubric: Rubric, items_per_call: int) -> list[tuple[Item, ...]]:
    """Returns the items asked in one call each."""
    items = rubric.items
    return [items[at : at + items_per_call] for at in range(0, len(items), items_per_call)]


def ask(
    models: Sequence[str],
    responses: Sequence[Response],
    rubric: Rubric,
    settings: EndpointSettings,
    log_dir: pathlib.Path,
) -> dict[Judge, Verdicts]:
    """Calls every model on what no log of it has, and reads the logs; goes on after a kill.

    Args:
      models: names as inspect_ai has them, such as "openai/gpt-4.1" or "openai-api/LOCAL/name".
      responses: to be judged; equal ones are asked about once.
      rubric: items to ask.
      settings: how.
      log_dir: of these settings alone, see `Judge.hash`.

    Returns:
      What each has answered, items without a usable answer among it.

    Raises:
      EndpointError: inspect_ai is not installed, a model or its key is not to be had, or every
        call to a model failed.
    """
    calls, log = make_calls(responses, rubric, settings), CallLog(log_dir)
    wanted = {name: call.call for name, call in calls.items()}
    had = sum(len(wanted.keys() & log.answers(model).keys()) for model in models)
    total, heard = len(calls) * len(models) - had, itertools.count(1)
    with waiting(f"judging: calls to {', '.join(models)}") as count:
        try:
            done = endpoint_calls.ask(
                *(TASK, dict.fromkeys(models, wanted), settings, log),
                score=_score,
                heard=lambda model, asked, answered: count(next(heard), total),
            )
        except EndpointError as error:
            raise EndpointError(f"judge {error}") from error
    found = {}
    for model in models:
        if calls and not done[model]:
            raise EndpointError(
                f"judge {model}: all {len(calls)} calls failed; the first: "
                f"{one_line(log.first_error(model))}"
            )
        found[judge_of(model, settings)] = _verdicts(calls, done[model])
    return found


def check(models: Sequence[str]) -> None:
    """Looks for models, their packages and keys, without a call.

    Raises:
      EndpointError: one is not to be had.
    """
    try:
        endpoint_calls.check(models)
    except EndpointError as error:
        raise EndpointError(f"judge {error}") from error


def heard(log_dir: pathlib.Path) -> set[str]:
    """Returns the models whose calls were made before, by their logs.

    Raises:
      EndpointError: there are logs, and inspect_ai is not installed.
    """
    try:
        return CallLog(log_dir).heard()
    except EndpointError as error:
        raise EndpointError(f"judge {error}") from error


@dataclasses.dataclass(frozen=True)
class Question:
    """A response and the items asked about it in one call.

    Attributes:
      response: that is judged.
      items: in the order asked.
      call: its id is `sample_id`.
    """

    response: Response
    items: tuple[Item, ...]
    call: endpoint_calls.Call


def make_calls(
    responses: Sequence[Response], rubric: Rubric, settings: EndpointSettings
) -> dict[str, Question]:
    """Returns id -> question, for every response and chunk of items; equal responses share it."""
    found = {}
    for response in responses:
        for items in chunks(rubric, settings.items_per_call):
            name = sample_id(response, items, rubric)
            prompt = prompts.json_prompt(response, items, rubric)
            about = {"response": response.hash, "items": [item.name for item in items]}
            call = endpoint_calls.Call(name, prompts.INSTRUCTIONS, prompt, about)
            found.setdefault(name, Question(response, items, call))
    return found


def _score(answer: str, about: Mapping[str, object]) -> tuple[dict[str, float], str]:
    """Values for the logs: 0, 1 or NaN of every item; and why one has no score."""
    found = read_answer(answer, about["items"])
    values = {n: float("nan") if v.score is None else v.score for n, v in found.items()}
    return values, "; ".join(f"{name}: {v.reason}" for name, v in found.items() if v.reason)


def sample_id(response: Response, items: Sequence[Item], rubric: Rubric) -> str:
    """Returns the id of a call: response, rubric, wording, and the items that are asked.

    The titles of their dimensions are told too, which are no part of the rubric's hash.
    """
    titles = [rubric.titles[name] for name in dict.fromkeys(item.dimension for item in items)]
    names = [item.name for item in items]
    asked = digest([rubric.hash, prompts.template_hash("json"), names, titles])
    return f"{response.hash}-{asked}"


def _verdicts(questions: Mapping[str, Question], answers: Mapping[str, Answer]) -> Verdicts:
    found = {}
    for name, question in questions.items():
        if name not in answers:
            reason = Verdict(None, reason="the call failed")
            found |= {(question.response.hash, item.name): reason for item in question.items}
            continue
        answer = answers[name]
        for item, verdict in read_answer(answer.text, [i.name for i in question.items]).items():
            key = (question.response.hash, item)
            found[key] = dataclasses.replace(verdict, time=answer.time, source=answer.log)
    return found
