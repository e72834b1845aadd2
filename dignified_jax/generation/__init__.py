"""Responses of a model to prompts, sampled in JAX in continuous batches.

from dignified_jax import generation
requests = [generation.Request("1", "Is the earth flat?")]
for response in generation.generate(model, params, tokenizer, requests):
    print(response.id, response.text)
"""

from dignified_jax.generation.prompts import PromptsError, Request
from dignified_jax.generation.queue import Queue, TokenRequest, TokenResponse
from dignified_jax.generation.respond import SampledResponse, as_text, generate
from dignified_jax.generation.settings import Settings

__all__ = [
    "PromptsError",
    "Queue",
    "Request",
    "SampledResponse",
    "Settings",
    "TokenRequest",
    "TokenResponse",
    "as_text",
    "generate",
]
