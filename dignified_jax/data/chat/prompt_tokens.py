"""Token ids of prompts, up to where the reply begins."""

from collections.abc import Iterator, Sequence

from dignified_jax.data.schema.conversation import Prompt
from dignified_jax.data.special_tokens import encode_literally, spelled_parts
from dignified_jax.data.template import ChatTemplate


def prompt_tokens(
    prompts: Sequence[Prompt], template: ChatTemplate
) -> list[list[int] | ValueError]:
    """Returns the token ids of each prompt, or the error that says why there are none.

    They are those that rows are trained on: texts that spell a special token stay plain text.
    """
    made = [_rendered(prompt, template) for prompt in prompts]
    encoded: Iterator[list[int]] = iter(
        template.ids([text for text in made if isinstance(text, str)])
    )
    return [next(encoded) if isinstance(each, str) else each for each in made]


def _rendered(prompt: Prompt, template: ChatTemplate) -> str | list[int] | ValueError:
    """The prompt's text; its ids, where it spells special tokens."""
    try:
        text = template.prompt_text(prompt)
        parts = spelled_parts(template, prompt)
        return text if parts is None else encode_literally(template, text, *parts)
    except ValueError as error:
        return error
