"""Judges behind an endpoint, through inspect_ai: its providers, retries, rate limits and logs.

A sample is a response and the items asked in one call; the model that inspect evaluates is the
judge. The logs are the ledger: what a log with status success holds is not asked again. A sample's
id has the hashes of response, rubric and wording, so a changed text is another sample.

inspect_ai (extra `eval`) takes seconds to import and is imported when a judge is called. Keys come
from the environment, by the provider's own names, and are written nowhere.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dignified_jax.console.waiting import waiting
from dignified_jax.evaluation.judging import logs, prompts
from dignified_jax.evaluation.judging.answers import read_answer
from dignified_jax.evaluation.judging.judgments import Judge, Verdict, Verdicts
from dignified_jax.evaluation.responses import Response
from dignified_jax.evaluation.rubrics import Item, Rubric, digest

if TYPE_CHECKING:
    from inspect_ai import Task

TASK = "judge_responses"


class EndpointError(ValueError):
    """Judging by an endpoint can't begin, or is not complete."""


@dataclasses.dataclass(frozen=True)
class EndpointSettings:
    """How endpoints are asked.

    Attributes:
      items_per_call: most rubric items in one call. One keeps an item's answer free of the others'
        (halo), at as many times the calls.
      temperature: None leaves it to the provider.
      max_tokens: of an answer.
      connections: calls at one time.
      attempt_seconds: after which a call that hangs is tried again.
      retries: of a call that fails, with growing pauses.
    """

    items_per_call: int = 12
    temperature: float | None = 0.0
    max_tokens: int = 1024
    connections: int = 10
    attempt_seconds: int = 120
    retries: int = 8


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
    """Calls every model on what no log of it has, and reads the logs.

    Killed at any moment and called again, it goes on: inspect_ai takes finished samples from the
    log of the run that was killed.

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
    calls = make_calls(responses, rubric, settings)
    for batch in logs.unfinished(log_dir, models):
        _evaluate(batch, calls, rubric, settings)
    done = {model: logs.read_samples(log_dir, model) for model in models}
    pending = {m: [name for name in calls if name not in done[m]] for m in models}
    if any(pending.values()):
        _evaluate(logs.begin(log_dir, pending), calls, rubric, settings)
        done = {model: logs.read_samples(log_dir, model) for model in models}
    found = {}
    for model in models:
        judge = judge_of(model, settings)
        failed = [name for name in calls if name not in done[model]]
        if calls and len(failed) == len(calls):
            raise EndpointError(
                f"judge {model}: all {len(calls)} calls failed; the first: "
                f"{one_line(logs.first_error(log_dir, model))}"
            )
        found[judge] = _verdicts(calls, done[model])
    return found


@dataclasses.dataclass(frozen=True)
class Call:
    """One call: a response and the items asked about it.

    Attributes:
      id: `sample_id`.
      response: that is judged.
      items: in the order asked.
      prompt: the judge's.
    """

    id: str
    response: Response
    items: tuple[Item, ...]
    prompt: str


def make_calls(
    responses: Sequence[Response], rubric: Rubric, settings: EndpointSettings
) -> dict[str, Call]:
    """Returns id -> call, for every response and chunk of items; equal responses share theirs."""
    calls = {}
    for response in responses:
        for items in chunks(rubric, settings.items_per_call):
            name = sample_id(response, items, rubric)
            prompt = prompts.json_prompt(response, items, rubric)
            calls.setdefault(name, Call(name, response, items, prompt))
    return calls


def _evaluate(
    batch: logs.CallBatch, calls: Mapping[str, Call], rubric: Rubric, settings: EndpointSettings
) -> None:
    """Runs one task a model, side by side; of the batch's calls those that are still wanted."""
    if importlib.util.find_spec("inspect_ai") is None:
        raise EndpointError(
            "judges behind an endpoint need inspect_ai: pip install 'dignified_jax[eval]'"
        )
    wanted = {m: [calls[n] for n in names if n in calls] for m, names in batch.calls.items()}
    wanted = {model: own for model, own in wanted.items() if own}
    if not wanted:
        return
    from inspect_ai import eval_set

    _check_models(list(wanted))
    tasks = [make_task(own, rubric, settings, model) for model, own in wanted.items()]
    count = sum(map(len, wanted.values()))
    with waiting(f"judging: {count} calls to {', '.join(wanted)}"):
        try:
            _, written = eval_set(
                tasks,
                log_dir=str(batch.directory),
                display="none",
                log_level="error",
                log_dir_allow_dirty=True,
                retry_attempts=0,
                retry_immediate=False,
                fail_on_error=False,
                max_connections=settings.connections,
                max_tasks=len(tasks),
                cache=False,
            )
        except Exception as error:  # of any provider's kind, and inspect's own
            raise EndpointError(f"judges {', '.join(wanted)}: {one_line(error)}") from error
    for log in written:
        if log.status == "error" and log.error is not None:
            raise EndpointError(f"judge {log.eval.model}: {one_line(log.error.message)}")


def _check_models(models: Sequence[str]) -> None:
    """Refuses models that inspect_ai does not know, or has no key or package for."""
    from inspect_ai.model import get_model

    for model in models:
        try:
            get_model(model)
        except Exception as error:  # of any provider's kind
            plain = re.sub(r"\[/?\w+\]", "", " ".join(str(error).split()))
            raise EndpointError(f"judge {model}: {plain.removeprefix('ERROR: ')}") from error


def make_task(
    calls: Sequence[Call], rubric: Rubric, settings: EndpointSettings, model: str
) -> Task:
    """Returns a task of inspect_ai: a sample a call, generate, and the scorer of JSON answers."""
    from inspect_ai import Task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig
    from inspect_ai.scorer import Score, scorer
    from inspect_ai.solver import generate

    samples = [
        Sample(
            id=call.id,
            input=[
                ChatMessageSystem(content=prompts.INSTRUCTIONS),
                ChatMessageUser(content=call.prompt),
            ],
            metadata={"response": call.response.hash, "items": [i.name for i in call.items]},
        )
        for call in calls
    ]

    @scorer(metrics=[], name="rubric")
    def rubric_scorer():
        async def score(state, target):
            del target
            found = read_answer(state.output.completion, state.metadata["items"])
            values = {
                name: float("nan") if verdict.score is None else verdict.score
                for name, verdict in found.items()
            }
            reasons = [f"{name}: {v.reason}" for name, v in found.items() if v.reason]
            return Score(
                value=values, answer=state.output.completion, explanation="; ".join(reasons)
            )

        return score

    return Task(
        name=TASK,
        model=model,
        dataset=MemoryDataset(samples, name=rubric.name),
        solver=generate(),
        scorer=rubric_scorer(),
        config=GenerateConfig(
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            attempt_timeout=settings.attempt_seconds,
            max_retries=settings.retries,
        ),
    )


def sample_id(response: Response, items: Sequence[Item], rubric: Rubric) -> str:
    """Returns the id of a call: response, rubric, wording, and the items that are asked."""
    asked = digest([rubric.hash, prompts.template_hash("json"), [item.name for item in items]])
    return f"{response.hash}-{asked}"


def _verdicts(calls: Mapping[str, Call], answers: Mapping[str, logs.Answer]) -> Verdicts:
    found = {}
    for name, call in calls.items():
        if name not in answers:
            reason = Verdict(None, reason="the call failed")
            found |= {(call.response.hash, item.name): reason for item in call.items}
            continue
        answer = answers[name]
        for item, verdict in read_answer(answer.text, [i.name for i in call.items]).items():
            key = (call.response.hash, item)
            found[key] = dataclasses.replace(verdict, time=answer.time, source=answer.log)
    return found


def one_line(error: object) -> str:
    """The line of an error that says something, without the request that it quotes."""
    text = str(error).replace("\\n", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line and "Request" not in line]
    return (telling or lines or [type(error).__name__])[0][:300]
