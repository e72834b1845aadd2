"""A run's tokenizer and chat template, and the limits of lengths."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
from typing import TYPE_CHECKING

from dignified_jax.data.limits import Limits
from dignified_jax.data.schema import response_names
from dignified_jax.data.template import ChatTemplate, load_template
from dignified_jax.data.tokenize import Encoder
from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.embedded import resolve
from dignified_jax.models import hf
from dignified_jax.models.hf.config import read_config
from dignified_jax.objectives import GOLDEN, Objective
from dignified_jax.training.config import ConfigError, TrainConfig
from dignified_jax.training.run import continuation, fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATE_DATE = "template date"


@dataclasses.dataclass(frozen=True)
class TextEncoder:
    """The encoder of a run's rows into token ids, for every split.

    Attributes:
      template: the chat template, with the tokenizer.
      limits: of lengths, the model's among them.
      vocabulary: entries of the model's embedding.
      identity: name to fingerprint.
      notes: lines for a person.
    """

    template: ChatTemplate
    limits: Limits
    vocabulary: int
    identity: dict[str, str]
    notes: tuple[str, ...]

    @property
    def repeatable(self) -> bool:
        """Says whether the same rows have the same token ids at every start."""
        return "random numbers" not in self.template.reads

    def encoder(self, config: TrainConfig, split: str) -> Encoder:
        """Returns the encoder of a split: of training, those responses that are trained on."""
        every = response_names(config.data.dimensions)
        trained = split == "train"
        responses = trained_responses(config.method, config.data.dimensions) if trained else every
        return Encoder(self.template, responses, self.limits)


def prepare(config: TrainConfig, workdir: pathlib.Path) -> TextEncoder:
    """Loads tokenizer and template.

    Raises:
      ConfigError: a limit exceeds what the model was made for.
      ValueError, FileNotFoundError: see `dignified_jax.data`.
    """
    directory = hf.resolve(resolve(config.model.path), weights=False)
    model = read_config(directory)
    limit = model.max_position_embeddings
    longest = config.data.max_length or config.data.row_length
    if config.data.max_length is not None and longest > limit:
        raise ConfigError(
            f"data.max_length is {longest}, but the model has max_position_embeddings {limit}"
        )
    tokenizer = load_tokenizer(directory, config.data.chat_template)
    seen = template_date(workdir)
    template = load_template(
        tokenizer,
        json.loads(config.data.chat_template_kwargs),
        name=config.data.chat_template or config.model.path,
        now=seen,
    )
    identity = {
        "tokenizer": fingerprint.of_tokenizer(tokenizer),
        "chat template": fingerprint.of_text(
            str(tokenizer.chat_template), config.data.chat_template_kwargs
        ),
    }
    notes = []
    if "random numbers" in template.reads:
        notes.append("the chat template draws random numbers: texts differ from start to start")
    if "the clock" in template.reads:
        identity[TEMPLATE_DATE] = f"{seen:%Y-%m-%d}"
        notes.append(f"the chat template reads the clock; this run keeps {seen:%Y-%m-%d}")
    return TextEncoder(
        template=template,
        limits=Limits(min(longest, limit), config.data.row_length, config.data.on_too_long),
        vocabulary=model.vocab_size,
        identity=identity,
        notes=tuple(notes),
    )


def template_date(workdir: pathlib.Path) -> datetime.datetime:
    """Returns the day that templates are told: that of the run's first start."""
    recorded = continuation.recorded_input(workdir, TEMPLATE_DATE)
    day = datetime.date.fromisoformat(recorded) if recorded else datetime.date.today()
    return datetime.datetime.combine(day, datetime.time())


def trained_responses(objective: Objective, dimensions: tuple[str, ...]) -> tuple[str, ...]:
    """Returns those that the objective looks at, in order; the others are not worth computing."""
    named, every = objective.trained_responses(dimensions), response_names(dimensions)
    if GOLDEN not in named or not set(named) <= set(every):
        raise ValueError(
            f"{type(objective).__name__}.trained_responses: expected {GOLDEN!r} and names of "
            f"{dimensions}, found {named}"
        )
    return tuple(name for name in every if name in named)


def end_of_turn(config: TrainConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """Returns the token id that ends every trained reply."""
    return load_template(tokenizer, json.loads(config.data.chat_template_kwargs)).end_of_turn
