"""Responses of a model to prompts: the way in for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from jax.sharding import Mesh

from dignified_jax.data.template import ChatTemplate, load_template
from dignified_jax.generation import prompts
from dignified_jax.generation.prompts import Request
from dignified_jax.generation.queue import Queue, TokenResponse
from dignified_jax.generation.settings import Settings
from dignified_jax.generation.steering import Steering
from dignified_jax.models.decoder import Decoder, Params
from dignified_jax.models.lora import LoraParams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclasses.dataclass(frozen=True)
class SampledResponse:
    """A response to a request.

    Attributes:
      id: of the request.
      text: without special tokens, up to the stop text if one ended it.
      finish_reason: "stop" where a token or text ended it, "length" at the most tokens.
      prompt_tokens, response_tokens: how many; without the token that ended it.
      seed: with which it was drawn.
    """

    id: str
    text: str
    finish_reason: str
    prompt_tokens: int
    response_tokens: int
    seed: int


def generate(
    model: Decoder,
    params: Params | LoraParams,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    settings: Settings = Settings(),  # noqa: B008  (frozen)
    *,
    template: ChatTemplate | None = None,
    stop_tokens: Collection[int] | None = None,
    mesh: Mesh | None = None,
    progress: Callable[[int], None] | None = None,
    steering: Steering | None = None,
) -> Iterator[SampledResponse]:
    """Samples a response to each request, in continuous batches; yields them as they are complete.

    A response depends on its own request, the settings and the model, neither on the other
    requests nor on their order, as far as the numerics go: a product of matrices may round
    otherwise in a batch of another shape. In float32 that decides only between tokens whose logits
    are equal to some 1e-6; in bfloat16 to some 1e-2, and a response may differ from there on.

    Args:
      model: the decoder, its `dtype` that of the computation and the cache.
      params: its parameter tree, or that of a base and of LoRA, on the mesh if there is one.
      tokenizer: the model's.
      requests: what to respond to.
      settings: how.
      template: the chat template; by default the tokenizer's, if a prompt is text.
      stop_tokens: that end a response; by default all that `prompts.stop_tokens` finds.
      mesh: over which sequences are split, with the axes of `models.partition`.
      progress: called again and again with the number of tokens sampled so far.
      steering: edits of the residual stream; None for none.

    Raises:
      PromptsError: requests that can't be used, by id; before anything is computed.
      ValueError: the chat template can't be used.
    """
    texts = any(not prompts.is_tokens(each.prompt) for each in requests)
    if template is None and texts:
        template = load_template(tokenizer)
    encoded = prompts.encode(requests, tokenizer, template, model.config, settings)
    if stop_tokens is None:
        stop_tokens = prompts.stop_tokens(model.config, tokenizer, template)
    queue = Queue(model, params, tuple(stop_tokens), settings, mesh, steering)
    for request in encoded:
        queue.add(request)
    stops = {each.id: settings.stop if each.stop is None else each.stop for each in requests}

    def responses() -> Iterator[SampledResponse]:
        while queue.busy:
            done = queue.step()
            if progress is not None:
                progress(queue.sampled)
            for each in done:
                yield as_text(each, tokenizer, stops[each.request.id])

    return responses()


def as_text(
    response: TokenResponse, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str] = ()
) -> SampledResponse:
    """Returns a response of tokens as text, cut where the first of the stop texts begins."""
    text = tokenizer.decode(response.tokens, skip_special_tokens=True)
    cut = min((at for each in stop if (at := text.find(each)) >= 0), default=len(text))
    return SampledResponse(
        id=response.request.id,
        text=text[:cut],
        finish_reason=response.finish_reason,
        prompt_tokens=len(response.request.tokens),
        response_tokens=len(response.tokens),
        seed=response.request.seed,
    )
