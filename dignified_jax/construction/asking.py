"""Questions to models and their answers: the one place that calls endpoints.

Whatever is asked has a hash of all that the answer depends on, so nothing is asked twice, and a run
that is started again reads from the logs what it had been told.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from dignified_jax.console.table import Table
from dignified_jax.construction.progress import CallProgress
from dignified_jax.construction.spending import Price, Spent
from dignified_jax.endpoints import calls as endpoint_calls
from dignified_jax.endpoints.calls import Call, CallSettings
from dignified_jax.endpoints.logs import Answer, CallLog
from dignified_jax.files.json_digest import digest


@dataclasses.dataclass(frozen=True)
class Inquiry:
    """A question to a model.

    Attributes:
      model: as inspect_ai names it.
      system, user: the messages.
      draw: tells apart samples of the same messages: row, part and attempt. "" where an answer
        serves whoever asks the same.
    """

    model: str
    system: str
    user: str
    draw: str = ""


class Asker:
    """Asks, and keeps what was paid for what is asked in this run or was in a former one."""

    def __init__(
        self,
        directory: pathlib.Path,
        settings: Mapping[str, CallSettings],
        prices: Mapping[str, Price],
    ) -> None:
        """
        Args:
          directory: of the logs, one in it for each stage.
          settings: stage -> how its models are called.
          prices: model -> price, of those whose cost is to be told.
        """
        self._settings, self._prices = settings, prices
        self._logs = {stage: CallLog(directory / stage) for stage in settings}
        self._spent: dict[tuple[str, str], Spent] = {}
        self._counted: set[tuple[str, str]] = set()

    def ask(self, stage: str, requests: Sequence[Inquiry]) -> list[Answer | None]:
        """Returns the answer to each request; None where the call failed.

        Raises:
          EndpointError: no call can be made.
        """
        settings = self._settings[stage]
        told = [stage, settings.temperature, settings.max_tokens]
        ids = [digest([*told, *dataclasses.astuple(request)]) for request in requests]
        calls: dict[str, dict[str, Call]] = {}
        for name, request in zip(ids, requests, strict=True):
            call = Call(name, request.system, request.user, {"draw": request.draw})
            calls.setdefault(request.model, {})[name] = call
        log = self._logs[stage]
        known = {model: log.answers(model) for model in calls}
        fresh = {n for model, own in calls.items() for n in own if n not in known[model]}
        with CallProgress(stage, len(fresh), self.total) as progress:
            done = endpoint_calls.ask(stage, calls, settings, log, heard=progress.heard)
            answers = [
                done[request.model].get(name) for name, request in zip(ids, requests, strict=True)
            ]
            for name, request, answer in zip(ids, requests, answers, strict=True):
                if answer is not None and (stage, name) not in self._counted:
                    self._counted.add((stage, name))
                    spent = self._spent.setdefault((stage, request.model), Spent())
                    spent.add(answer.input_tokens, answer.output_tokens)
            progress.answered(sum(name in fresh for own in done.values() for name in own))
        return answers

    def failure(self, stage: str, model: str) -> str:
        """Returns why a call of a stage to a model failed, in a line."""
        return endpoint_calls.one_line(self._logs[stage].first_error(model))

    def total(self, extra: Mapping[str, Spent]) -> tuple[int, float]:
        """Returns tokens and cost of all that was paid for, and of `extra`, by model."""
        own = [(model, spent) for (_, model), spent in self._spent.items()]
        every = [*own, *extra.items()]
        tokens = sum(spent.input_tokens + spent.output_tokens for _, spent in every)
        return tokens, sum(spent.cost(self._prices.get(model)) for model, spent in every)

    def table(self) -> Table:
        """Returns calls, tokens and cost by stage and model."""
        keys = sorted(self._spent)
        found = [self._spent[key] for key in keys]
        costs = [s.cost(self._prices.get(m)) for (_, m), s in zip(keys, found, strict=True)]
        return Table(
            "usage",
            "what was asked, of this run and the former ones that it goes on with",
            {
                "stage": [stage for stage, _ in keys],
                "model": [model for _, model in keys],
                "calls": [spent.calls for spent in found],
                "input tokens": [spent.input_tokens for spent in found],
                "output tokens": [spent.output_tokens for spent in found],
                "cost": costs,
            },
        )
