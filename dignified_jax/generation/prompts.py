"""Requests to token ids, and what ends a response."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from dignified_jax.data.chat.prompt_tokens import prompt_tokens
from dignified_jax.data.schema import Prompt, first_lines
from dignified_jax.data.schema.cells import read_prompt
from dignified_jax.data.template import ChatTemplate
from dignified_jax.generation.queue import TokenRequest
from dignified_jax.generation.settings import Settings, wrong_stop
from dignified_jax.models.config import DecoderConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


LARGEST_SEED = 2**32 - 1


class PromptsError(ValueError):
    """Requests that can't be sampled; all of them, by id."""


@dataclasses.dataclass(frozen=True)
class Request:
    """A prompt to respond to.

    Attributes:
      id: differs from those of other requests.
      prompt: a user's text, or the turns of a conversation, which the chat template renders; token
        ids, a tuple of integers, are continued as they are.
      seed: of its draws; None makes one of the settings' seed and the id.
      max_new_tokens, stop: in place of the settings'; None takes those.
    """

    id: str
    prompt: Prompt | tuple[int, ...]
    seed: int | None = None
    max_new_tokens: int | None = None
    stop: tuple[str, ...] | None = None


def encode(
    requests: Sequence[Request],
    tokenizer: PreTrainedTokenizerBase,
    template: ChatTemplate | None,
    config: DecoderConfig,
    settings: Settings,
) -> list[TokenRequest]:
    """Returns the requests as token ids.

    Args:
      requests: what to encode.
      tokenizer: the model's.
      template: its chat template; None where all prompts are token ids.
      config: of the decoder.
      settings: of those requests that have none.

    Raises:
      PromptsError: names the ids of all requests that stand twice, that template or tokenizer can't
        keep, that are too long, or whose own settings can't be.
    """
    problems = _doubled(requests)
    found = _rendered(requests, template)
    encoded = []
    for number, request in enumerate(requests):
        if wrong := _wrong_settings(request):
            problems.append(f"{request.id}: {wrong}")
            continue
        tokens = found.get(number, request.prompt)
        most = settings.max_new_tokens
        most = most if request.max_new_tokens is None else request.max_new_tokens
        if isinstance(tokens, ValueError):
            problems.append(f"{request.id}: {tokens}")
        elif not tokens:
            problems.append(f"{request.id}: expected a prompt, found no tokens")
        elif not all(0 <= token < config.vocab_size for token in tokens):
            problems.append(f"{request.id}: a token is not below {config.vocab_size}, the model's")
        elif len(tokens) + most > config.max_position_embeddings:
            problems.append(
                f"{request.id}: {len(tokens)} tokens and up to {most} new ones are more than the "
                f"model's {config.max_position_embeddings}"
            )
        else:
            seed = derived_seed(settings.seed, request.id) if request.seed is None else request.seed
            stop = settings.stop if request.stop is None else request.stop
            ends = _until(stop, tokenizer) if stop else None
            encoded.append(TokenRequest(request.id, tuple(tokens), most, seed, ends))
    refuse(problems, len(requests))
    return encoded


def _wrong_settings(request: Request) -> str:
    """Returns what is wrong with a request's own settings, in words; "" for nothing."""
    most, seed = request.max_new_tokens, request.seed
    if most is not None and most < 1:
        return f"max_new_tokens: expected at least 1, found {most}"
    if seed is not None and not 0 <= seed <= LARGEST_SEED:
        return f"seed: expected 0 to {LARGEST_SEED}, found {seed}"
    return wrong_stop(request.stop or ())


def refuse(problems: Sequence[str], total: int) -> None:
    """Raises PromptsError if there are problems, each of which begins with an id."""
    if problems:
        lines = "\n  ".join(first_lines(problems))
        raise PromptsError(f"{len(problems)} of {total} prompts can't be used:\n  {lines}")


def derived_seed(seed: int, request_id: str) -> int:
    """Returns 32 bits made of a seed and an id."""
    digest = hashlib.sha256(f"{seed} {request_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big")


def stop_tokens(
    config: DecoderConfig,
    tokenizer: PreTrainedTokenizerBase,
    template: ChatTemplate | None,
    further: Collection[int] = (),
) -> frozenset[int]:
    """Returns all tokens that end a response: of model, tokenizer, chat template, and `further`."""
    eos = config.eos_token_id
    found = {*(eos if isinstance(eos, tuple) else (eos,)), tokenizer.eos_token_id, *further}
    if template is not None:
        found.add(template.end_of_turn)
    return frozenset(found - {None})


def _until(
    stop: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> Callable[[Sequence[int]], int | None]:
    """How many tokens a response has up to where one of the texts is complete; None: none is."""

    def there(tokens: Sequence[int]) -> bool:
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        return any(each in text for each in stop)

    def ends(tokens: Sequence[int]) -> int | None:
        if not there(tokens):
            return None
        low, high = 0, len(tokens)  # complete at `high`, not at `low`
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if there(tokens[:middle]) else (middle, high)
        return high

    return ends


def _rendered(
    requests: Sequence[Request], template: ChatTemplate | None
) -> dict[int, Sequence[int] | ValueError]:
    """Place of each request whose prompt is text -> its token ids, or why there are none."""
    found: dict[int, Sequence[int] | ValueError] = {}
    texts: dict[int, Prompt] = {}
    for number, request in enumerate(requests):
        if is_tokens(request.prompt):
            continue
        problems: list[tuple[str, str, str]] = []
        prompt = read_prompt("prompt", request.prompt, problems)
        if problems:
            field, expected, what = problems[0]
            found[number] = ValueError(f"{field}: expected {expected}, found {what}")
        elif not prompt:
            found[number] = ValueError("expected a prompt, found an empty one")
        else:
            texts[number] = prompt
    if texts and template is None:
        raise PromptsError("prompts of text need a chat template")
    tokens = prompt_tokens(list(texts.values()), template) if texts else []
    return found | dict(zip(texts, tokens, strict=True))


def is_tokens(prompt: Prompt | tuple[int, ...]) -> bool:
    """Says that a prompt is token ids."""
    return isinstance(prompt, tuple) and all(isinstance(each, int) for each in prompt)


def _doubled(requests: Sequence[Request]) -> list[str]:
    seen, twice = set(), []
    for request in requests:
        if request.id in seen and request.id not in twice:
            twice.append(request.id)
        seen.add(request.id)
    return [f"{each}: stands twice" for each in twice]
