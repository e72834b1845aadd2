"""Responses of an OpenAI-compatible server, such as vLLM or SGLang: the other source of them.

Requests that fail for a while (429, 5xx, a broken connection, an answer that is cut off) are sent
again after the time that Retry-After names, or ever longer ones. Whatever is not a response in the
end is an error of its prompt, never an empty text.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import http.client
import json
import os
import random
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib import error as url_errors
from urllib import request as url_requests

from dignified_jax.console.labels import clip
from dignified_jax.data.schema.conversation import as_objects, messages_of
from dignified_jax.generation.prompts import Request, derived_seed
from dignified_jax.generation.settings import Settings

LONGEST_PAUSE = 60.0
LARGEST_ANSWER = 64 * 2**20
_PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 529)
# No request can succeed.
_FATAL = (401, 403, 404)


class ServerError(ValueError):
    """The server can't be used at all."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A server.

    Attributes:
      url: such as http://localhost:8000/v1.
      model: the name by which it knows the model.
      concurrency: requests at a time.
      timeout: seconds that an answer may take.
      attempts: how often a request is sent before it is an error.
      key_variable: environment variable of the key, which is sent if it is set and never written.
      chat_template_kwargs: arguments for the chat template, which vLLM and SGLang take.
    """

    url: str
    model: str
    concurrency: int = 8
    timeout: float = 600.0
    attempts: int = 6
    key_variable: str = "OPENAI_API_KEY"
    chat_template_kwargs: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"--endpoint: expected http(s)://HOST/..., found {self.url!r}")
        if parts.username or parts.password:
            raise ValueError("--endpoint: a key in the address would be written; use the variable")

    @property
    def address(self) -> str:
        """Where requests are sent."""
        bare = self.url.rstrip("/")
        return bare if bare.endswith("/chat/completions") else f"{bare}/chat/completions"


@dataclasses.dataclass(frozen=True)
class ServedResponse:
    """Holds what came of a request: a text or an error.

    Attributes:
      id: of the request.
      text: of the response; None where there is none.
      error: why; "" where there is a text.
      finish_reason: as the server says it.
      prompt_tokens, response_tokens: as the server counts them, if it does.
      seed: that was sent.
    """

    id: str
    text: str | None
    error: str = ""
    finish_reason: str = ""
    prompt_tokens: int | None = None
    response_tokens: int | None = None
    seed: int = 0


class _Passing(Exception):
    """A failure that may be over at the next attempt.

    Attributes:
      pause: seconds that the server asks for; None where it does not.
    """

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class _Refused(Exception):
    """The server refuses this request, and would again."""


def ask(
    endpoint: Endpoint, requests: Sequence[Request], settings: Settings
) -> Iterator[ServedResponse]:
    """Asks the server for all responses; yields what comes of each as it comes.

    Args:
      endpoint: the server.
      requests: their prompts are of text.
      settings: how to sample; `batch_size` is not sent.

    Raises:
      ServerError: the server knows no such model or address, or refuses the key.
    """
    stopped = threading.Event()
    opener = url_requests.build_opener(_NoRedirects)

    def work(request: Request) -> ServedResponse:
        body, seed = _body(endpoint, request, settings)
        return _persist(endpoint, opener, request.id, body, seed, stopped)

    with concurrent.futures.ThreadPoolExecutor(endpoint.concurrency) as pool:
        futures = [pool.submit(work, request) for request in requests]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        finally:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)


class _NoRedirects(url_requests.HTTPRedirectHandler):
    """The key goes to the address that was given, and to no other."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


def _body(endpoint: Endpoint, request: Request, settings: Settings) -> tuple[dict[str, Any], int]:
    seed = request.seed
    if seed is None:
        seed = derived_seed(settings.seed, request.id)
    seed &= 2**31 - 1  # servers read a signed number
    stop = settings.stop if request.stop is None else request.stop
    body = {
        "model": endpoint.model,
        "messages": as_objects(tuple(messages_of(request.prompt))),
        "max_tokens": request.max_new_tokens or settings.max_new_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "seed": seed,
        **({"stop": list(stop)} if stop else {}),
    }
    # No fields of OpenAI's own, but of the servers above.
    further = {"top_k": settings.top_k, "chat_template_kwargs": endpoint.chat_template_kwargs}
    body |= {name: value for name, value in further.items() if value is not None}
    return body, seed


def _persist(
    endpoint: Endpoint,
    opener: url_requests.OpenerDirector,
    name: str,
    body: Mapping[str, Any],
    seed: int,
    stopped: threading.Event,
) -> ServedResponse:
    reason = "stopped"
    for attempt in range(endpoint.attempts):
        if stopped.is_set():
            break
        try:
            return _parsed(name, _send(endpoint, opener, body), seed)
        except _Refused as refused:
            return ServedResponse(name, None, str(refused), seed=seed)
        except _Passing as passing:
            reason = str(passing)
            pause = passing.pause
            if pause is None:
                pause = min(2.0**attempt / 2, LONGEST_PAUSE) * random.uniform(0.5, 1.0)
        if attempt + 1 < endpoint.attempts:
            stopped.wait(min(pause, LONGEST_PAUSE))
    return ServedResponse(name, None, f"{reason} ({endpoint.attempts} attempts)", seed=seed)


def _send(
    endpoint: Endpoint, opener: url_requests.OpenerDirector, body: Mapping[str, Any]
) -> bytes:
    """The body of the server's answer."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    key = os.environ.get(endpoint.key_variable, "").strip()
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = url_requests.Request(
        endpoint.address, json.dumps(body).encode(), headers, method="POST"
    )
    deadline = time.monotonic() + endpoint.timeout
    try:
        with opener.open(request, timeout=endpoint.timeout) as response:
            return _read(response, deadline)
    except url_errors.HTTPError as error:
        said = f"HTTP {error.code}: {_excerpt(error, key, deadline)}"
        if error.code in _PASSING:
            raise _Passing(said, _retry_after(error.headers.get("Retry-After"))) from error
        if error.code in _FATAL:
            raise ServerError(f"{endpoint.address}: {said}") from error
        raise _Refused(said) from error
    except (OSError, HTTPException) as error:  # no connection, a broken one, or no answer in time
        reason = error.reason if isinstance(error, url_errors.URLError) else error
        raise _Passing(
            clip(f"{endpoint.address}: {reason or type(error).__name__}", 200)
        ) from error
    except ValueError as error:  # such as a key that is no header
        raise ServerError(
            f"{endpoint.address}: the request can't be sent; look at {endpoint.key_variable}"
        ) from error


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """An answer within its time and size, also of a server that sends a byte now and then."""
    parts, size = [], 0
    while part := response.read1(2**16):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise _Passing("the answer took too long")
        if size > LARGEST_ANSWER:
            raise _Refused(f"the answer has more than {LARGEST_ANSWER} bytes")
    if getattr(response, "length", None):  # bytes that were promised and did not come
        raise _Passing("the answer was cut off")
    return b"".join(parts)


def _excerpt(error: url_errors.HTTPError, key: str, deadline: float) -> str:
    try:
        text = _read(error, deadline).decode("utf-8", "replace")
    except (OSError, HTTPException, _Passing, _Refused):
        text = ""
    if key:
        text = text.replace(key, "…")
    return clip(" ".join(text.split()) or error.reason or "no text", 200)


def _retry_after(value: str | None) -> float | None:
    """Seconds, of a number of them or a date."""
    if value is None:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return None


def _parsed(name: str, content: bytes, seed: int) -> ServedResponse:
    """The response in an answer.

    Raises:
      _Passing: it is none; a server may have been cut off.
    """
    try:
        answer = json.loads(content)
        choice = answer["choices"][0]
        text, reason = choice["message"]["content"], choice["finish_reason"]
    except (ValueError, RecursionError, KeyError, IndexError, TypeError) as error:
        shown = clip(content[:200].decode("utf-8", "replace"), 100)
        raise _Passing(f"expected a chat completion, found {shown!r}") from error
    if not isinstance(text, str) or not isinstance(reason, str):
        raise _Passing(
            f"expected a text and a finish_reason, found {text!r:.60} and {reason!r:.60}"
        )
    if not text.strip():
        raise _Passing(f"an empty response (finish_reason {clip(reason)})")
    usage = answer.get("usage") if isinstance(answer.get("usage"), dict) else {}
    counts = [usage.get(field) for field in ("prompt_tokens", "completion_tokens")]
    numbers = [count if type(count) is int else None for count in counts]
    text = text.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair
    return ServedResponse(name, text, "", reason, *numbers, seed=seed)
