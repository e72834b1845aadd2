"""The model API behind `provider`: requests of concurrent samples share continuous batches."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import queue
import threading
from collections.abc import Mapping
from typing import Any

import anyio.to_thread
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from dignified_jax.console.waiting import silent
from dignified_jax.data.schema import Message
from dignified_jax.evaluation import models
from dignified_jax.files.json_digest import digest
from dignified_jax.generation import prompts
from dignified_jax.generation.prompts import Request
from dignified_jax.generation.queue import Queue, TokenRequest, TokenResponse
from dignified_jax.generation.respond import as_text
from dignified_jax.generation.settings import Settings

# Of GenerateConfig, what this sampler has no part for, and the value that asks for nothing.
_UNKNOWN = {
    **{"frequency_penalty": 0, "presence_penalty": 0, "logit_bias": None, "response_schema": None},
    **{"num_choices": 1, "best_of": 1, "logprobs": False},
}


class SamplerAPI(ModelAPI):
    """A model that is sampled in this process."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  (inspect's own signature)
        dtype: str = "float32",
        batch_size: int = 32,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
          model_name: path of the model.
          base_url, api_key: of other APIs; not used.
          config: of inspect_ai.
          dtype: of weights and computation.
          batch_size: sequences that are sampled together.
          chat_template_kwargs: arguments for the chat template; None for a run's own.

        Raises:
          ValueError, OSError: there is no such model.
        """
        super().__init__(model_name, base_url, api_key, [], config)
        self._model = models.load(model_name, model_name, dtype, silent, chat_template_kwargs)
        self._template = self._model.template()
        self._batch_size = batch_size
        self._lock = threading.Lock()
        self._workers: dict[Settings, _Worker] = {}
        self._seen: dict[str, int] = {}

    def max_connections(self) -> int:
        """Samples at one time; more would only wait."""
        return self._batch_size

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Samples one response.

        The k-th request of the same conversation and seed has draws of its own, which do not depend
        on other requests.

        Raises:
          ValueError: tools, or settings that this sampler does not have.
          PromptsError: the conversation can't be used.
        """
        del tool_choice
        if tools:
            raise ValueError(f"{self.model_name}: tools are not supported")
        for name, nothing in _UNKNOWN.items():
            if getattr(config, name, None) not in (None, nothing):
                raise ValueError(f"{self.model_name}: {name} is not supported")
        settings = self._settings(config)
        request = self._request(input, settings, config)
        tokens = prompts.encode(
            [request], self._model.tokenizer, self._template, self._model.module.config, settings
        )[0]
        future = self._worker(settings).submit(tokens)
        # A thread of its own for each that waits: they are at most `max_connections`.
        response = await anyio.to_thread.run_sync(
            future.result, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
        )
        return self._output(response, settings.stop)

    def _settings(self, config: GenerateConfig) -> Settings:
        temperature = 1.0 if config.temperature is None else config.temperature
        draws = temperature > 0
        return Settings(
            max_new_tokens=config.max_tokens or Settings.max_new_tokens,
            temperature=temperature,
            top_p=1.0 if config.top_p is None or not draws else config.top_p,
            top_k=config.top_k if draws else None,
            seed=config.seed or 0,
            stop=tuple(config.stop_seqs or ()),
            batch_size=self._batch_size,
        )

    def _request(
        self, input: list[ChatMessage], settings: Settings, config: GenerateConfig
    ) -> Request:
        turns = tuple(Message(turn.role, turn.text) for turn in input)
        if config.system_message:
            turns = (Message("system", config.system_message), *turns)
        known = digest([turns, settings.seed])
        with self._lock:
            count = self._seen[known] = self._seen.get(known, 0) + 1
        return Request(f"{known}-{count}", turns)

    def _worker(self, settings: Settings) -> _Worker:
        """The queue of what is sampled alike; what a request says itself does not matter."""
        alike = dataclasses.replace(settings, max_new_tokens=1, stop=(), seed=0)
        with self._lock:
            if alike not in self._workers or self._workers[alike].failed:
                stops = prompts.stop_tokens(
                    self._model.module.config,
                    self._model.tokenizer,
                    self._template,
                    self._model.stops,
                )
                made = Queue(self._model.module, self._model.params, tuple(stops), alike)
                self._workers[alike] = _Worker(made)
            return self._workers[alike]

    def _output(self, response: TokenResponse, stop: tuple[str, ...]) -> ModelOutput:
        sampled = as_text(response, self._model.tokenizer, stop)
        ended = "stop" if sampled.finish_reason == "stop" else "max_tokens"
        message = ChatMessageAssistant(
            content=sampled.text, source="generate", model=self.model_name
        )
        return ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=message, stop_reason=ended)],
            usage=ModelUsage(
                input_tokens=sampled.prompt_tokens,
                output_tokens=sampled.response_tokens,
                total_tokens=sampled.prompt_tokens + sampled.response_tokens,
            ),
        )


class _Worker:
    """A thread that samples for as long as there are requests, and nothing fails."""

    def __init__(self, sampler: Queue) -> None:
        self._sampler = sampler
        self._new: queue.SimpleQueue[tuple[TokenRequest, concurrent.futures.Future]] = (
            queue.SimpleQueue()
        )
        self._waiting: dict[str, concurrent.futures.Future] = {}
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def failed(self) -> bool:
        """True where nothing is sampled any more."""
        return self._error is not None

    def submit(self, request: TokenRequest) -> concurrent.futures.Future[TokenResponse]:
        future: concurrent.futures.Future[TokenResponse] = concurrent.futures.Future()
        with self._lock:
            if self._error is None:
                self._new.put((request, future))
            else:
                future.set_exception(self._error)
        return future

    def _run(self) -> None:
        try:
            while True:
                self._take()
                for response in self._sampler.step():
                    self._waiting.pop(response.request.id).set_result(response)
        except BaseException as error:  # who waits is told; the thread has nobody to tell
            with self._lock:
                self._error = error
            while not self._new.empty():
                request, future = self._new.get()
                self._waiting[request.id] = future
            for future in self._waiting.values():
                future.set_exception(error)

    def _take(self) -> None:
        """Takes what is there; waits where there is nothing to do."""
        while not self._sampler.busy or not self._new.empty():
            request, future = self._new.get()
            self._waiting[request.id] = future
            self._sampler.add(request)
