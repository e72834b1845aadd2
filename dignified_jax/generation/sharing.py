"""Responses that the processes of a job make together, each a share of the prompts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dignified_jax.cluster import members, team
from dignified_jax.data.schema import Message, Prompt
from dignified_jax.data.schema.conversation import as_objects
from dignified_jax.generation.progress import SamplingProgress
from dignified_jax.generation.prompts import Request, is_tokens
from dignified_jax.generation.response_file import TEMPLATE_DATE
from dignified_jax.generation.sources import Done, SampledModel, ServedModel

_WORK = "responses"


class _Ticks:
    """Progress that nobody sees, but that tells the first process that there is some."""

    def sampled(self, tokens: int) -> None:
        members.at(f"{_WORK}, {tokens} tokens", "job")

    def finished(self, tokens: int) -> None:
        """Does nothing: each result is seen where it arrives."""


def respond(
    source: SampledModel | ServedModel, requests: list[Request], progress: SamplingProgress
) -> Iterator[Done]:
    """Yields what comes of each request, as it comes; of this process's share alone `progress` is
    told the tokens on the way.

    Raises:
      PromptsError: names the requests of this process's share that can't be sampled.
    """

    def read(content: list[Any]) -> Done:
        done = Done(*content)
        progress.finished(done.facts["response_tokens"])
        return done

    return team.share(
        _WORK,
        {TEMPLATE_DATE: source.identity.get(TEMPLATE_DATE)},
        requests,
        lambda one: [one.id, one.prompt if is_tokens(one.prompt) else as_objects(one.prompt)],
        lambda mine: source.respond(mine, progress),
        read,
    )


def serve(source: SampledModel) -> None:
    """Responds to what the first process sends, until it has no more."""

    def work(shared: team.Shared, items: list[Any]) -> Iterator[list[Any]]:
        source.tell(shared[TEMPLATE_DATE])
        requests = [Request(name, _prompt(value)) for name, value in items]
        for done in source.respond(requests, _Ticks()):
            yield [done.id, done.text, done.facts, done.error]

    team.serve({_WORK: work})


def _prompt(value: Any) -> Prompt | tuple[int, ...]:
    if isinstance(value, str):
        return value
    return tuple(Message(**each) if isinstance(each, dict) else each for each in value)
