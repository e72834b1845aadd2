"""Work that processes do for the first one in an evaluation: responses and verdicts.

Requests, responses and rubrics travel as JSON values; each process loads the model itself.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from dignified_jax.cluster import members, team
from dignified_jax.console.waiting import Waiting, silent, waiting
from dignified_jax.data.schema import Message, Prompt
from dignified_jax.data.schema.conversation import as_objects
from dignified_jax.evaluation import models
from dignified_jax.evaluation.judging import local
from dignified_jax.evaluation.judging.judgments import Verdict
from dignified_jax.evaluation.models import LoadedModel
from dignified_jax.evaluation.responses import Response
from dignified_jax.evaluation.rubrics import Item, Rubric
from dignified_jax.generation.prompts import Request, stop_tokens
from dignified_jax.generation.respond import generate
from dignified_jax.generation.settings import Settings
from dignified_jax.generation.steering import Steering
from dignified_jax.models.residual import Edits

RESPOND, JUDGE = "responses", "judging"
Answer = tuple[str, str | None, str]
"""(id, text or None, reason of its end or of its lack) of a request."""
Load = Callable[[], LoadedModel]
_PARTS = ("added", "axes", "low", "high")


def serve() -> None:
    """Works for the first process until it has no more jobs."""
    team.serve({RESPOND: _respond, JUDGE: _judge})


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """A model by what every process loads it from: arguments of `models.load`, as JSON values."""

    name: str
    path: str
    dtype: str
    template_kwargs: Mapping[str, Any] | None
    day: str | None = None

    @classmethod
    def of(cls, model: LoadedModel) -> ModelSource:
        """Returns the source of a model that is loaded here."""
        dtype = jnp.dtype(model.module.dtype).name
        day = None if model.day is None else model.day.isoformat()
        return cls(model.name, model.path, dtype, model.template_kwargs, day)

    def load(self, show: Waiting = waiting) -> LoadedModel:
        """Loads the model."""
        day = None if self.day is None else datetime.date.fromisoformat(self.day)
        return models.load(self.name, self.path, self.dtype, show, self.template_kwargs, day)


def respond(
    model: ModelSource,
    requests: list[Request],
    settings: Settings,
    steering: Steering | None = None,
    load: Load | None = None,
) -> Iterator[Answer]:
    """Yields the answers of a model to requests, of which every process samples its share.

    Args:
      model: that answers.
      requests: prompts alone are read of them.
      settings: of the sampler.
      steering: edits of the residual stream.
      load: gives the model in this process, where it is loaded already.

    Raises:
      PromptsError: requests that can't be used, by id.
      ValueError: the chat template can't be used.
    """
    shared = {
        **{"model": dataclasses.asdict(model), "settings": dataclasses.asdict(settings)},
        "steering": _described(steering),
    }
    return team.share(
        RESPOND,
        shared,
        requests,
        lambda request: [request.id, as_objects(request.prompt)],
        lambda mine: _sampled((load or model.load)(), mine, settings, steering),
        tuple,
    )


def judge(
    model: ModelSource,
    rubric: Rubric,
    settings: local.LocalSettings,
    responses: list[Response],
) -> Iterator[tuple[Response, dict[str, Verdict]]]:
    """Yields a local model's verdicts on responses, of which every process judges its share.

    Args:
      model: that judges.
      rubric, settings: of `local.LocalJudge`.
      responses: of distinct hashes.
    """
    shared = {
        **{"model": dataclasses.asdict(model), "settings": dataclasses.asdict(settings)},
        "rubric": dataclasses.asdict(rubric),
    }
    known = {response.hash: response for response in responses}
    return team.share(
        JUDGE,
        shared,
        responses,
        lambda one: [one.model, one.question, as_objects(one.prompt), one.text],
        lambda mine: local.LocalJudge(model.load(), rubric, settings)(mine),
        lambda found: (known[found[0]], {n: Verdict(**v) for n, v in found[1].items()}),
    )


def _respond(shared: team.Shared, items: list[Any]) -> Iterator[Answer]:
    settings = Settings(**{**shared["settings"], "stop": tuple(shared["settings"]["stop"])})
    requests = [Request(name, _prompt(prompt)) for name, prompt in items]
    steering = _steering(shared["steering"])
    return _sampled(_loaded(json.dumps(shared["model"])), requests, settings, steering)


def _sampled(
    model: LoadedModel,
    requests: list[Request],
    settings: Settings,
    steering: Steering | None,
) -> Iterator[Answer]:
    template = model.template()
    stops = stop_tokens(model.module.config, model.tokenizer, template, model.stops)
    made = generate(
        model.module,
        model.params,
        model.tokenizer,
        requests,
        settings,
        template=template,
        stop_tokens=stops,
        steering=steering,
        progress=lambda tokens: members.at(f"{RESPOND}, {tokens} tokens", "job"),
    )
    return ((each.id, each.text, each.finish_reason) for each in made)


def _judge(shared: team.Shared, items: list[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    fields = {**shared["rubric"]}
    fields["items"] = tuple(Item(**item) for item in fields["items"])
    fields["groups"] = {name: tuple(of) for name, of in fields["groups"].items()}
    settings = {**shared["settings"], "answers": tuple(shared["settings"]["answers"])}
    responses = [Response(model, name, _prompt(p), text) for model, name, p, text in items]
    model = _loaded(json.dumps(shared["model"]))
    judge_of = local.LocalJudge(model, Rubric(**fields), local.LocalSettings(**settings))
    for response, verdicts in judge_of(responses):
        yield (
            response.hash,
            {name: dataclasses.asdict(verdict) for name, verdict in verdicts.items()},
        )


def _described(steering: Steering | None) -> dict[str, Any] | None:
    """Edits of whole layers as JSON values, from which the same float32 numbers are read."""
    if steering is None:
        return None
    parts = {name: getattr(steering.edits, name) for name in _PARTS}
    told = {
        name: None if part is None else np.asarray(part).tolist() for name, part in parts.items()
    }
    return {"positions": steering.positions, "edits": told}


def _steering(told: Mapping[str, Any] | None) -> Steering | None:
    if told is None:
        return None
    parts = {
        name: None if part is None else jnp.asarray(part, jnp.float32)
        for name, part in told["edits"].items()
    }
    return Steering(Edits(**parts), told["positions"])


@functools.lru_cache(maxsize=1)
def _loaded(source: str) -> LoadedModel:
    """The model of the last job, which is often that of the next; of a `ModelSource` as JSON."""
    return ModelSource(**json.loads(source)).load(silent)


def _prompt(value: Any) -> Prompt:
    return value if isinstance(value, str) else tuple(Message(**turn) for turn in value)
