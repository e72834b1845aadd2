"""Generation: the responses of every model to every prompt, as a ledger of each model."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping

from dignified_jax.console.labels import clip
from dignified_jax.console.waiting import waiting
from dignified_jax.data.rows import read_rows
from dignified_jax.data.schema import Prompt
from dignified_jax.data.template import load_template
from dignified_jax.embedded import resolve
from dignified_jax.evaluation import models
from dignified_jax.evaluation import responses as response_files
from dignified_jax.evaluation.config import EvaluationConfig, file_name, named
from dignified_jax.evaluation.ledger import Ledger
from dignified_jax.evaluation.responses import Response
from dignified_jax.files.json_digest import digest
from dignified_jax.generation import endpoint
from dignified_jax.generation.prompts import Request, stop_tokens
from dignified_jax.generation.respond import generate
from dignified_jax.generation.settings import Settings


def read_prompts(config: EvaluationConfig) -> dict[str, Prompt]:
    """Reads the prompts: id -> prompt.

    Raises:
      ValueError, OSError: the file is not what it should be.
    """
    source = resolve(config.prompts)
    file = pathlib.Path(source)
    if file.suffix == ".jsonl" and file.is_file() and not _has_golden(file):
        found = response_files.read_prompts(file)
    else:
        found = {}
        for row in read_rows(source):
            found.setdefault(digest(row.prompt)[:12], row.prompt)
    kept = list(found)[: config.most_prompts]
    return {name: found[name] for name in kept}


def respond(
    config: EvaluationConfig, notify: Callable[[str], None]
) -> tuple[list[Response], dict[str, str]]:
    """Reads or generates the responses of all models, and writes them into WORKDIR/responses.

    Returns:
      The responses, model by model, and label -> digest of what they come from.

    Raises:
      ValueError, OSError: names the model or the file.
    """
    prompts = read_prompts(config)
    found: list[Response] = []
    origins = {}
    for entry in config.models:
        name, path = named(entry, "models")
        if path.endswith(".jsonl"):
            given = response_files.read_responses(path, name, prompts)
            own = [response for response in given if response.question in prompts]
            own = own or list(given)
            origins[name] = digest([response.hash for response in own])
            left = len(given) - len(own)
            notify(
                f"{name}: {len(own)} responses of {path}"
                + (f"; {left} to other prompts left out" if left else "")
            )
        else:
            served = re.fullmatch(r"(.+)@(https?://.+)", path)
            source = _served(*served.groups()) if served else _local(config, name, path)
            origins[name] = source.origin
            own = _generated(config, source, name, prompts, notify)
        target = pathlib.Path(config.workdir) / "responses" / file_name(name, "all.jsonl")
        target.parent.mkdir(parents=True, exist_ok=True)
        response_files.write_responses(target, own)
        found += own
    response_files.check_distinct(found)
    return found, origins


@dataclasses.dataclass(frozen=True)
class _Source:
    """A model that responds.

    Attributes:
      origin: tells the model apart from others.
      respond: (requests, settings) -> (id, text or None, reason of its end or of its lack) each.
    """

    origin: str
    respond: Callable[[list[Request], Settings], Iterator[tuple[str, str | None, str]]]


def _local(config: EvaluationConfig, name: str, path: str) -> _Source:
    """A model that is sampled from here, loaded when it is asked."""

    def respond(
        requests: list[Request], settings: Settings
    ) -> Iterator[tuple[str, str | None, str]]:
        model = models.load(name, path, config.dtype)
        template = load_template(model.tokenizer)
        stops = stop_tokens(model.module.config, model.tokenizer, template, model.stops)
        made = generate(
            model.module,
            model.params,
            model.tokenizer,
            requests,
            settings,
            template=template,
            stop_tokens=stops,
        )
        return ((each.id, each.text, each.finish_reason) for each in made)

    return _Source(digest([models.digest(path), config.dtype]), respond)


def _served(model: str, url: str) -> _Source:
    """A model behind an OpenAI-compatible server; the key is in OPENAI_API_KEY."""
    server = endpoint.Endpoint(url, model)

    def respond(
        requests: list[Request], settings: Settings
    ) -> Iterator[tuple[str, str | None, str]]:
        for each in endpoint.ask(server, requests, settings):
            yield each.id, each.text, each.error or each.finish_reason

    return _Source(digest([url, model]), respond)


def _generated(
    config: EvaluationConfig,
    source: _Source,
    name: str,
    prompts: Mapping[str, Prompt],
    notify: Callable[[str], None],
) -> list[Response]:
    """The responses of one model; those that its ledger has are not made again."""
    settings = dataclasses.asdict(config.generation)
    del settings["batch_size"]
    origin = digest([source.origin, settings])
    file = pathlib.Path(config.workdir) / "responses" / file_name(name, f"{origin}.jsonl")
    ledger = Ledger(file, ("id", "prompt"))
    wanted = {
        question: prompt
        for question, prompt in prompts.items()
        if ledger.get(question, digest(prompt)) is None
    }
    if wanted:
        notify(f"{name}: {len(wanted)} responses to generate")
        requests = [Request(question, prompt) for question, prompt in wanted.items()]
        failed = {}
        with waiting(f"{name}: responses") as count:
            made = source.respond(requests, config.generation)
            for number, (question, text, end) in enumerate(made, start=1):
                if text is None:
                    failed[question] = end
                else:
                    ledger.add(
                        {
                            **{"id": question, "prompt": digest(wanted[question])},
                            **{"response": text, "finish_reason": end},
                        }
                    )
                count(number, len(wanted))
        if failed:
            question, reason = next(iter(failed.items()))
            raise ValueError(
                f"model {name}: {len(failed)} of {len(prompts)} prompts have no response; the same "
                f"command asks again; the first, {clip(question)}: {reason}"
            )
    return [
        Response(name, question, prompt, ledger.get(question, digest(prompt))["response"])
        for question, prompt in prompts.items()
    ]


def _has_golden(file: pathlib.Path) -> bool:
    """Returns whether a file holds preference rows rather than prompts with ids."""
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        first = next((line for line in stream if line.strip()), "")
    return '"golden"' in first
