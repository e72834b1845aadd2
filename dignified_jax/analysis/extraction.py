"""States of contrast pairs under a model: prompts, responses, and what is read of both."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int

from dignified_jax.analysis import responses, states
from dignified_jax.analysis.contrasts import POLES, ContrastSet, Placement
from dignified_jax.analysis.responses import Notify, Place
from dignified_jax.analysis.states import Reading
from dignified_jax.console.waiting import waiting
from dignified_jax.data.chat.prompt_tokens import prompt_tokens
from dignified_jax.data.schema import Prompt
from dignified_jax.data.template import ChatTemplate
from dignified_jax.evaluation.models import LoadedModel
from dignified_jax.generation.prompts import PromptsError, refuse
from dignified_jax.generation.settings import Settings

Part = Literal["response", "bare_response", "last_prompt", "mean_prompt"]
OF_RESPONSES: tuple[Part, ...] = ("response", "bare_response")
_CHUNK = 1024  # prompts that are tokenized together to find the longest


@dataclasses.dataclass(frozen=True)
class Extraction:
    """How states are read.

    Attributes:
      part: "response" averages over the response's tokens, and "bare_response" over the same
        tokens read after the bare question, without the framing that they were generated under;
        "mean_prompt" averages over the prompt's, and "last_prompt" is the prompt's last token.
      placement: of the framing.
      generation: of the responses.
    """

    part: Part = "response"
    placement: Placement = "system"
    generation: Settings = Settings(max_new_tokens=64)  # noqa: RUF009  (frozen)


@dataclasses.dataclass(frozen=True)
class PairStates:
    """States of the pairs of a dimension.

    Attributes:
      states: by `contrasts.POLES`.
      groups: of each pair, see `ContrastSet.groups`.
      left_out: pairs without a usable response.
    """

    states: Float32[np.ndarray, "pair pole layer width"]
    groups: Int[np.ndarray, " pair"]
    left_out: int


def pair_states(
    model: LoadedModel,
    pairs: ContrastSet,
    settings: Extraction,
    directory: pathlib.Path,
    notify: Notify,
) -> PairStates:
    """Returns the states of all pairs; responses are kept in `directory`.

    Raises:
      PromptsError: a chat template without system turns, among others.
      ValueError: no pair has usable responses.
    """
    prompts = {
        f"{number}-{pole}": pair.prompt(pole, settings.placement)
        for number, pair in enumerate(pairs.pairs)
        for pole in POLES
    }
    bare = {name: pairs.pairs[int(name.partition("-")[0])].question for name in prompts}
    found = read(model, prompts, bare, settings, Place(directory, pairs.name), notify)
    names = [[f"{number}-{pole}" for pole in POLES] for number in range(len(pairs.pairs))]
    whole = [n for n, poles in enumerate(names) if all(name in found for name in poles)]
    left_out = len(names) - len(whole)
    if left_out:
        notify(f"{pairs.name}: {left_out} of {len(names)} pairs left out: a response is empty")
    if not whole:
        raise ValueError(f"{pairs.name}: no pair has a response that can be read")
    groups = np.array(pairs.groups)[whole]
    stacked = np.array([[found[name] for name in names[n]] for n in whole])
    return PairStates(stacked, groups, left_out)


def read(
    model: LoadedModel,
    prompts: Mapping[str, Prompt],
    bare: Mapping[str, Prompt],
    settings: Extraction,
    place: Place,
    notify: Notify,
) -> dict[str, Float32[np.ndarray, "layer width"]]:
    """Returns id -> state; without those whose response is empty or can't be kept.

    Args:
      model: that responds and is read.
      prompts: id -> prompt.
      bare: id -> the prompt without its framing, after which "bare_response" is read.
      settings: how states are read.
      place: of the responses.
      notify: shows a line to a person.

    Raises:
      PromptsError: prompts that can't be used.
    """
    try:
        if settings.part in OF_RESPONSES:
            made = responses.respond(model, prompts, settings.generation, place, notify)
            before = prompts if settings.part == "response" else bare
            pairs = [(before[name], made[name]) for name in prompts]
            examples = responses.tokenized(model, pairs)
            readings = {
                name: _of_response(example.prompt, example.responses[0])
                for name, example in zip(prompts, examples, strict=True)
                if example is not None and len(example.responses[0]) > 1
            }
        else:
            readings = prompt_readings(model, prompts, settings.part)
    except PromptsError as error:
        if settings.placement == "system":
            error.add_note("a chat template without system turns needs --framing user")
        raise
    if not readings:
        return {}
    with waiting(f"{place.label}: states") as count:
        found = states.collect(model.module, model.params, list(readings.values()), count)
    return dict(zip(readings, found[:, 0], strict=True))


def prompt_readings(
    model: LoadedModel, prompts: Mapping[str, Prompt], part: Part = "last_prompt"
) -> dict[str, Reading]:
    """Returns id -> the prompt's last token, or all of its tokens.

    Raises:
      PromptsError: prompts that template or tokenizer can't keep, by id.
    """
    read = PromptReadings(tuple(prompts.values()), model.template(), part)
    read.check(tuple(prompts), model.module.config.max_position_embeddings)
    return dict(zip(prompts, read[:], strict=True))


@dataclasses.dataclass(frozen=True)
class PromptReadings:
    """Readings of prompts, tokenized when they are asked for: their token ids, which take more
    memory than the texts, are never all there.

    Attributes:
      prompts: all texts.
      template: of the model.
      part: "last_prompt" or "mean_prompt".
    """

    prompts: Sequence[Prompt]
    template: ChatTemplate
    part: Part = "last_prompt"

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, chosen: slice) -> list[Reading]:
        tokens = prompt_tokens(self.prompts[chosen], self.template)
        return [
            Reading(ids, ((0, len(ids)) if self.part == "mean_prompt" else states.last_token(ids),))
            for ids in tokens
        ]

    def check(self, names: Sequence[str], most: int) -> int:
        """Returns the tokens of the longest prompt.

        Args:
          names: id of each prompt.
          most: tokens that the model reads.

        Raises:
          PromptsError: prompts that template, tokenizer or model can't keep, by id.
        """
        longest, problems = 0, []
        for start in range(0, len(self), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            tokens = prompt_tokens(self.prompts[chunk], self.template)
            for name, ids in zip(names[chunk], tokens, strict=True):
                if isinstance(ids, ValueError):
                    problems.append(f"{name}: {ids}")
                elif len(ids) > most:
                    problems.append(f"{name}: {len(ids)} tokens, of at most {most}, the model's")
                else:
                    longest = max(longest, len(ids))
        refuse(problems, len(self))
        return longest


def _of_response(prompt: Sequence[int], response: Sequence[int]) -> Reading:
    """The response's tokens, without the one that ends it."""
    tokens = [*prompt, *response[:-1]]
    return Reading(tokens, ((len(prompt), len(tokens)),))
