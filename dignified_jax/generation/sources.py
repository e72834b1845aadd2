"""Prompts to lines of a response file, from a model here or from a server."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dignified_jax.console.waiting import Waiting, silent
from dignified_jax.data.schema import Prompt
from dignified_jax.data.template import ChatTemplate, load_template
from dignified_jax.data.tokenizer import load_tokenizer, tokenizer_digest
from dignified_jax.files.model_directory import locate, read_object
from dignified_jax.generation import prompts as prompt_tokens
from dignified_jax.generation import respond
from dignified_jax.generation.devices import make_mesh, usual_dtype
from dignified_jax.generation.endpoint import Endpoint, ask
from dignified_jax.generation.progress import SamplingProgress
from dignified_jax.generation.prompts import Request
from dignified_jax.generation.response_file import TEMPLATE_DATE
from dignified_jax.generation.settings import Settings
from dignified_jax.generation.system_prompts import with_system
from dignified_jax.models.checkpoint import params_checkpoint, policy
from dignified_jax.models.checkpoint.digest import of_arrays

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Facts = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Done:
    """Holds what came of a prompt.

    Attributes:
      id: of the prompt.
      text: of the response; None where there is none.
      facts: further fields of its line.
      error: why there is no text.
    """

    id: str
    text: str | None
    facts: Facts
    error: str = ""


class SampledModel:
    """A model that is sampled from here."""

    def __init__(
        self,
        path: str,
        settings: Settings,
        *,
        dtype: str | None = None,
        base: str | None = None,
        plain: bool = False,
        chat_template: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        day: datetime.date | None = None,
        fsdp: int = 1,
        tensor: int = 1,
        show: Waiting = silent,
    ) -> None:
        """
        Args:
          path: as `models.checkpoint.policy.load` takes it.
          settings: how to sample.
          dtype: of parameters, computation and cache; None takes `usual_dtype`.
          base: of LoRA, if it is not where it was.
          plain: whether prompts are continued as they are, without the chat template.
          chat_template: file of a template that takes the place of the tokenizer's.
          chat_template_kwargs: arguments for the template; None takes those of the run, if the
            model is one.
          day: that a template which prints the date is told; None for today.
          fsdp, tensor: as in `make_mesh`.
          show: shows what is waited for.

        Raises:
          ValueError, OSError: as `policy.load`, `load_tokenizer` and `load_template`.
        """
        self._settings, self._plain = settings, plain
        self._mesh = make_mesh(fsdp, tensor)
        dtype = dtype or usual_dtype()
        self._policy = policy.load(path, dtype, self._mesh, base, show)
        directory = self._policy.directory
        if chat_template_kwargs is None:
            chat_template_kwargs = run_template_kwargs(directory)
        day = day or datetime.date.today()
        self._tokenizer, self._template = _with_template(
            directory, chat_template, None if plain else chat_template_kwargs, day
        )
        self._stops = prompt_tokens.stop_tokens(
            self._policy.model.config,
            self._tokenizer,
            self._template,
            generation_stops(self._policy.generation),
        )
        self.identity = {
            "path": path,
            "weights": of_arrays(self._policy.params),
            "dtype": dtype,
            "tokenizer": _of_tokenizer(self._tokenizer),
            "plain": plain,
            "chat_template": None if plain else _digest(self._tokenizer.get_chat_template()),
            "chat_template_kwargs": None if plain else dict(chat_template_kwargs),
            "stop_tokens": sorted(self._stops),
        }
        if self._template is not None and "the clock" in self._template.reads:
            self.identity[TEMPLATE_DATE] = day.isoformat()

    def tell(self, day: str | None) -> None:
        """Tells the template another day; does nothing where it prints none, or with None."""
        if day is None or self.identity.get(TEMPLATE_DATE, day) == day:
            return
        kwargs = self.identity["chat_template_kwargs"]
        self._template = load_template(self._tokenizer, kwargs, now=_midnight(day))
        self.identity[TEMPLATE_DATE] = day

    def requests(self, prompts: Mapping[str, Prompt], system: str | None) -> list[Request]:
        """Returns the requests for prompts, with a system prompt if there is one."""
        if self._plain:
            return [Request(name, _ids(p, self._tokenizer)) for name, p in prompts.items()]
        return steered(prompts, system)

    def respond(self, requests: list[Request], progress: SamplingProgress) -> Iterator[Done]:
        """Yields what comes of each, as it comes; refuses what can't be sampled before.

        Raises:
          PromptsError: names all of them.
        """
        responses = respond.generate(
            self._policy.model,
            self._policy.params,
            self._tokenizer,
            requests,
            self._settings,
            template=self._template,
            stop_tokens=self._stops,
            mesh=self._mesh,
            progress=progress.sampled,
        )
        return (_of_response(each, progress) for each in responses)


class ServedModel:
    """A model behind an endpoint."""

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self._endpoint, self._settings = endpoint, settings
        self.identity = {
            "model": endpoint.model,
            "endpoint": endpoint.url,
            "chat_template_kwargs": endpoint.chat_template_kwargs,
        }

    def requests(self, prompts: Mapping[str, Prompt], system: str | None) -> list[Request]:
        """Returns the requests for prompts, with a system prompt if there is one."""
        return steered(prompts, system)

    def respond(self, requests: list[Request], progress: SamplingProgress) -> Iterator[Done]:
        """Yields what comes of each, as it comes.

        Raises:
          ServerError: the server can't be used at all.
        """
        sampled = 0
        for answer in ask(self._endpoint, requests, self._settings):
            facts = {
                name: getattr(answer, name)
                for name in ("finish_reason", "prompt_tokens", "response_tokens", "seed")
            }
            tokens = answer.response_tokens or 0
            sampled += tokens
            progress.sampled(sampled)
            progress.finished(tokens)
            yield Done(answer.id, answer.text, facts, answer.error)


def steered(prompts: Mapping[str, Prompt], system: str | None) -> list[Request]:
    """Returns the requests for prompts, with a system prompt if there is one.

    Raises:
      PromptsError: prompts that have one already, by id.
    """
    if system is None:
        return [Request(name, prompt) for name, prompt in prompts.items()]
    problems, made = [], []
    for name, prompt in prompts.items():
        try:
            made.append(Request(name, with_system(prompt, system)))
        except ValueError as error:
            problems.append(f"{name}: {error}")
    prompt_tokens.refuse(problems, len(prompts))
    return made


def generation_stops(directory: pathlib.Path) -> tuple[int, ...]:
    """Returns the tokens that end a response by generation_config.json.

    Raises:
      ModelFileError: the file is damaged.
      ValueError: they are no token ids.
    """
    file = locate(directory, "generation_config.json")
    found = None if file is None else read_object(file).get("eos_token_id")
    listed = [] if found is None else found if isinstance(found, list) else [found]
    if any(type(token) is not int for token in listed):
        raise ValueError(f"{file}: eos_token_id: expected a token id or several, found {found!r}")
    return tuple(listed)


def run_template_kwargs(directory: pathlib.Path) -> dict[str, Any]:
    """Returns the template's arguments of the run whose model's files a directory has; or none.

    Raises:
      ModelFileError: the run's configuration is damaged.
    """
    file = directory.parent / "config.json"
    if directory.name != params_checkpoint.MODEL_DIRECTORY or not file.is_file():
        return {}
    section = read_object(file).get("data")
    text = section.get("chat_template_kwargs") if isinstance(section, dict) else None
    return json.loads(text) if isinstance(text, str) else {}


def _with_template(
    directory: pathlib.Path,
    file: str | None,
    kwargs: Mapping[str, Any] | None,
    day: datetime.date,
) -> tuple[PreTrainedTokenizerBase, ChatTemplate | None]:
    """The tokenizer, and its template unless `kwargs` is None; errors name our flags."""
    try:
        tokenizer = load_tokenizer(directory, file)
        if kwargs is None:
            return tokenizer, None
        return tokenizer, load_template(tokenizer, kwargs, now=_midnight(day.isoformat()))
    except (ValueError, OSError) as error:
        flags = str(error).replace("data.chat_template", "--chat_template")
        if flags == str(error):
            raise
        raise ValueError(flags) from error


def _midnight(day: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(day)


def _of_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """The digest of its pipeline and of the special tokens, which a chat template may print."""
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    return _digest(json.dumps([tokenizer_digest(tokenizer), special], sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _of_response(response: respond.SampledResponse, progress: SamplingProgress) -> Done:
    progress.finished(response.response_tokens)
    facts = dataclasses.asdict(response)
    return Done(facts.pop("id"), facts.pop("text"), facts)


def _ids(prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Token ids of a text that is continued as it is, with what the tokenizer puts before it.

    Raises:
      ValueError: the prompt is a conversation.
    """
    if not isinstance(prompt, str):
        raise ValueError("--plain: expected prompts of text, found a conversation")
    return tuple(tokenizer(prompt, verbose=False)["input_ids"])
