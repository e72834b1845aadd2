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
from dignified_jax.embedded import resolve
from dignified_jax.evaluation import models, template_day, works
from dignified_jax.evaluation import responses as response_files
from dignified_jax.evaluation.config import EvaluationConfig
from dignified_jax.evaluation.entries import file_name, named
from dignified_jax.evaluation.ledger import Ledger
from dignified_jax.evaluation.responses import Response
from dignified_jax.files.json_digest import digest
from dignified_jax.generation import endpoint
from dignified_jax.generation.prompts import Request
from dignified_jax.generation.settings import Settings

GIVEN = ".jsonl"
"""End of a path in `models` that is no model, but a file of responses."""
SERVED = r"(.+)@(https?://.+)"
"""A model behind a server, and its address."""


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
    entries = dict(named(entry, "models") for entry in config.models)
    # Whatever is wrong with files and directories is told before a response is made.
    given = {
        name: _given(name, path, prompts, notify)
        for name, path in entries.items()
        if path.endswith(GIVEN)
    }
    for name, path in entries.items():
        if name not in given and not re.fullmatch(SERVED, path):
            _check(config, name, path)
    found: list[Response] = []
    origins = {}
    for name, path in entries.items():
        source = source_of(config, name, path)
        if source is None:
            own = given[name]
            origins[name] = digest([response.hash for response in own])
        else:
            origins[name] = source.origin
            texts = answers(config, source, name, prompts, "responses", notify)
            own = [Response(name, id, prompt, texts[id]) for id, prompt in prompts.items()]
        target = _all(config, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        response_files.write_responses(target, own)
        found += own
    response_files.check_distinct(found)
    return found, origins


@dataclasses.dataclass(frozen=True)
class Source:
    """A model that responds.

    Attributes:
      origin: tells the model apart from others.
      respond: (requests, settings) -> (id, text or None, reason of its end or of its lack) each.
    """

    origin: str
    respond: Callable[[list[Request], Settings], Iterator[works.Answer]]


def _all(config: EvaluationConfig, name: str) -> pathlib.Path:
    """The file of all responses of a model."""
    return pathlib.Path(config.workdir) / "responses" / file_name(name, "all.jsonl")


def _check(config: EvaluationConfig, name: str, path: str) -> None:
    """Refuses a model that is not there, and says where the responses are that it gave before."""
    try:
        with models.named(f"model {name}"):
            models.tokenizer(path)
    except ValueError as error:
        kept = _all(config, name)
        if kept.is_file():
            error.add_note(f"its responses of before are in {kept}, which models takes as a path")
        raise


def source_of(config: EvaluationConfig, name: str, path: str) -> Source | None:
    """Returns the model that an entry of `models` names; None where it names a file of responses.

    Args:
      config: of the evaluation.
      name, path: the entry's parts.
    """
    if path.endswith(GIVEN):
        return None
    served = re.fullmatch(SERVED, path)
    return _served(config, *served.groups()) if served else _local(config, name, path)


def _given(
    name: str, path: str, prompts: Mapping[str, Prompt], notify: Callable[[str], None]
) -> list[Response]:
    """Responses of a file; those to other prompts, only if there are no others."""
    given = response_files.read_responses(path, name, prompts)
    own = [response for response in given if response.question in prompts]
    said = [f"{name}: {len(own) or len(given)} responses of {path}"]
    if not own:
        said.append("none of them to a prompt of this evaluation: their own are taken")
    elif left := len(given) - len(own):
        said.append(f"{left} to other prompts left out")
    if own and len(own) < len(prompts):
        said.append(f"{len(prompts) - len(own)} prompts without one")
    notify("; ".join(said))
    return own or list(given)


def _local(config: EvaluationConfig, name: str, path: str) -> Source:
    """A model that is sampled from here, loaded when it is asked."""
    kwargs = config.template_kwargs()
    day = template_day.kept(config.workdir).isoformat()
    model = works.ModelSource(name, path, config.dtype, kwargs, day)

    def respond(requests: list[Request], settings: Settings) -> Iterator[works.Answer]:
        return works.respond(model, requests, settings)

    weights = models.digest(path, template_kwargs=kwargs)
    return Source(digest([weights, config.dtype]), respond)


def _served(config: EvaluationConfig, model: str, url: str) -> Source:
    """A model behind an OpenAI-compatible server; the key is in OPENAI_API_KEY."""
    kwargs = config.template_kwargs()
    server = endpoint.Endpoint(url, model, chat_template_kwargs=kwargs)

    def respond(requests: list[Request], settings: Settings) -> Iterator[works.Answer]:
        for each in endpoint.ask(server, requests, settings):
            yield each.id, each.text, each.error or each.finish_reason

    return Source(digest([url, model, *([] if kwargs is None else [kwargs])]), respond)


def answers(
    config: EvaluationConfig,
    source: Source,
    name: str,
    prompts: Mapping[str, Prompt],
    directory: str,
    notify: Callable[[str], None],
) -> dict[str, str]:
    """Returns a model's response to each prompt; those that its ledger has are not made again.

    Args:
      config: of the evaluation.
      source: the model.
      name: its label.
      prompts: by id.
      directory: in WORKDIR, of the ledger.
      notify: shows a line to a person.

    Raises:
      ValueError, OSError: names the model.
    """
    settings = dataclasses.asdict(config.generation)
    del settings["batch_size"]
    origin = digest([source.origin, settings])
    file = pathlib.Path(config.workdir) / directory / file_name(name, f"{origin}.jsonl")
    ledger = Ledger(file, ("id", "prompt"))
    keys = {question: (question, digest(prompt)) for question, prompt in prompts.items()}
    wanted = [question for question, key in keys.items() if ledger.get(*key) is None]
    if wanted:
        notify(f"{name}: {len(wanted)} responses to generate")
        failed = {}
        with waiting(f"{name}: responses") as count:
            requests = [Request(question, prompts[question]) for question in wanted]
            made = source.respond(requests, config.generation)
            for number, (question, text, end) in enumerate(made, start=1):
                if text is None:
                    failed[question] = end
                else:
                    record = dict(zip(("id", "prompt"), keys[question], strict=True))
                    ledger.add({**record, "response": text, "finish_reason": end})
                count(number, len(wanted))
        if failed:
            question, reason = next(iter(failed.items()))
            raise ValueError(
                f"model {name}: {len(failed)} of {len(prompts)} prompts have no response; the same "
                f"command asks again; the first, {clip(question)}: {reason}"
            )
    return {question: ledger.get(*key)["response"] for question, key in keys.items()}


def _has_golden(file: pathlib.Path) -> bool:
    """Returns whether a file holds preference rows rather than prompts with ids."""
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        first = next((line for line in stream if line.strip()), "")
    return '"golden"' in first
