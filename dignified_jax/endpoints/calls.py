"""Calls to models behind endpoints, through inspect_ai: providers, retries, rate limits and logs.

A sample is a call; the model that inspect evaluates is the one that is called. The logs are the
ledger: what a log with status success holds is not asked again. So a call's id has to hold a hash
of all that its answer depends on: a changed text is another call.

inspect_ai (extras `eval` and `construct`) takes seconds to import and is imported when a model is
called. Keys come from the environment, by the provider's own names, and are written nowhere.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from dignified_jax.endpoints.logs import (
    Answer,
    CallBatch,
    CallLog,
    EndpointError,
    require_inspect,
)

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.scorer import Scorer
    from inspect_ai.solver import Solver


@dataclasses.dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
      id: says all that the answer depends on besides the model.
      system, user: the messages.
      metadata: kept with it in the log.
    """

    id: str
    system: str
    user: str
    metadata: Mapping[str, object] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class CallSettings:
    """How models are called.

    Attributes:
      temperature: None leaves it to the provider.
      max_tokens: of an answer.
      connections: calls at one time.
      attempt_seconds: after which a call that hangs is tried again.
      retries: of a call that fails, with growing pauses.
    """

    temperature: float | None = 0.0
    max_tokens: int = 1024
    connections: int = 10
    attempt_seconds: int = 120
    retries: int = 8


Calls = Mapping[str, Mapping[str, Call]]
"""Model, as inspect_ai names it ("openai/gpt-4.1", "openai-api/LOCAL/name") -> id -> call."""
Score = Callable[[str, Mapping[str, object]], tuple[Mapping[str, float], str]]
"""An answer and its call's metadata to values that the log keeps, and an explanation."""
Heard = Callable[[str, int, int], None]
"""Told of every answer as it comes: its model, the tokens of its call and its own."""


def ask(
    task: str,
    calls: Calls,
    settings: CallSettings,
    log: CallLog,
    score: Score | None = None,
    heard: Heard | None = None,
) -> dict[str, dict[str, Answer]]:
    """Makes every call that no log has, and reads the logs.

    Killed at any moment and called again, it goes on: inspect_ai takes finished samples from the
    log of the run that was killed.

    Args:
      task: name of the calls in the logs; the same for all calls of a log.
      calls: to be answered.
      settings: how; what an answer depends on has to be in the calls' ids.
      log: where answers are kept.
      score: for the logs; None keeps none.
      heard: None tells nobody.

    Returns:
      Model -> id -> answer, of the calls that did not fail.

    Raises:
      EndpointError: inspect_ai is not installed, or a model or its key is not to be had.
    """
    models = list(calls)
    for batch in log.unfinished(models):
        _evaluate(task, batch, calls, settings, score, heard)
    done = {model: log.answers(model) for model in models}
    pending = {m: [name for name in calls[m] if name not in done[m]] for m in models}
    if any(pending.values()):
        _evaluate(task, log.begin(pending), calls, settings, score, heard)
        done = {model: log.answers(model) for model in models}
    return {m: {name: done[m][name] for name in calls[m] if name in done[m]} for m in models}


def _evaluate(
    task: str,
    batch: CallBatch,
    calls: Calls,
    settings: CallSettings,
    score: Score | None,
    heard: Heard | None,
) -> None:
    """Runs one task a model, side by side; of the batch's calls those that are still wanted."""
    wanted = {m: [calls[m][n] for n in names if n in calls[m]] for m, names in batch.calls.items()}
    wanted = {model: own for model, own in wanted.items() if own}
    if not wanted:
        return
    check(list(wanted))
    from inspect_ai import eval_set

    tasks = [make_task(task, own, settings, model, score, heard) for model, own in wanted.items()]
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
        raise EndpointError(f"{', '.join(wanted)}: {one_line(error)}") from error
    for log in written:
        if log.status == "error" and log.error is not None:
            raise EndpointError(f"{log.eval.model}: {one_line(log.error.message)}")


def check(models: Sequence[str]) -> None:
    """Looks for models, their packages and keys, without a call.

    Raises:
      EndpointError: inspect_ai is not installed, does not know one, or has no key or package for
        it.
    """
    require_inspect()
    from inspect_ai.model import get_model

    for model in models:
        try:
            get_model(model, memoize=False)
        except Exception as error:  # of any provider's kind
            plain = re.sub(r"\[/?\w+\]", "", " ".join(str(error).split()))
            raise EndpointError(f"{model}: {plain.removeprefix('ERROR: ')}") from error


def make_task(
    name: str,
    calls: Sequence[Call],
    settings: CallSettings,
    model: str,
    score: Score | None = None,
    heard: Heard | None = None,
) -> Task:
    """Returns a task of inspect_ai: a sample a call, generate, and the scorer if there is one."""
    from inspect_ai import Task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, get_model
    from inspect_ai.solver import generate

    samples = [
        Sample(
            id=call.id,
            input=[ChatMessageSystem(content=call.system), ChatMessageUser(content=call.user)],
            metadata=dict(call.metadata),
        )
        for call in calls
    ]
    return Task(
        name=name,
        # Made anew: one that is kept goes on calling the address that it was first made for.
        model=get_model(model, memoize=False),
        dataset=MemoryDataset(samples, name=name),
        solver=generate() if heard is None else [generate(), _listener(model, heard)],
        scorer=None if score is None else _scorer(score),
        config=GenerateConfig(
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            attempt_timeout=settings.attempt_seconds,
            max_retries=settings.retries,
        ),
    )


def _scorer(values_of: Score) -> Scorer:
    from inspect_ai.scorer import Score as LoggedScore
    from inspect_ai.scorer import scorer

    @scorer(metrics=[], name="rubric")
    def rubric_scorer():
        async def score(state, target):
            del target
            answer = state.output.completion
            values, explanation = values_of(answer, state.metadata)
            return LoggedScore(value=dict(values), answer=answer, explanation=explanation)

        return score

    return rubric_scorer()


def _listener(model: str, heard: Heard) -> Solver:
    from inspect_ai.solver import solver

    @solver(name="listener")
    def listener():
        async def solve(state, generate):
            del generate
            used = state.output.usage
            heard(model, used.input_tokens if used else 0, used.output_tokens if used else 0)
            return state

        return solve

    return listener()


_RETRIED = re.compile(r"RetryError\[?\(?<Future at \w+ state=finished raised (\w+)>\)?\]?")
"""What tenacity says when it gives up."""


def one_line(error: object) -> str:
    """The line of an error that says something, without the request that it quotes."""
    text = _RETRIED.sub(r"\1, also when tried again", str(error)).replace("\\n", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line and "Request" not in line]
    return (telling or lines or [type(error).__name__])[0][:300]
