"""Responses of a model to prompts for an analysis, kept in a ledger that a later run goes on with,
and their token ids."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from dignified_jax.console.waiting import waiting
from dignified_jax.data.examples import TokenizedExample
from dignified_jax.data.schema import PreferenceRow, Prompt
from dignified_jax.data.tokenize import encode
from dignified_jax.evaluation import works
from dignified_jax.evaluation.entries import file_name
from dignified_jax.evaluation.ledger import Ledger
from dignified_jax.evaluation.models import LoadedModel
from dignified_jax.files.json_digest import digest
from dignified_jax.generation.prompts import Request
from dignified_jax.generation.settings import Settings
from dignified_jax.generation.steering import Steering

Notify = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where responses are kept.

    Attributes:
      directory: of the ledgers.
      label: of these responses, for file names and for a person.
      origin: all that they depend on besides model, settings and prompts, as JSON values.
    """

    directory: pathlib.Path
    label: str
    origin: object = None


def respond(
    model: LoadedModel,
    prompts: Mapping[str, Prompt],
    settings: Settings,
    place: Place,
    notify: Notify,
    steering: Steering | None = None,
) -> dict[str, str]:
    """Returns id -> response; those that the ledger has are not made again.

    Args:
      model: that responds.
      prompts: id -> prompt.
      settings: how.
      place: of the ledger; its origin tells the steering.
      notify: shows a line to a person.
      steering: edits of the residual stream.

    Raises:
      PromptsError: prompts that can't be used, by id.
      ValueError: the chat template can't be used.
    """
    facts = dataclasses.asdict(settings)
    del facts["batch_size"]
    origin = digest([model.digest, str(model.module.dtype), facts, place.origin])
    file = place.directory / file_name(place.label, f"{origin}.jsonl")
    ledger = Ledger(file, ("id", "prompt"))
    kept = {name: _kept(ledger, name, prompt) for name, prompt in prompts.items()}
    wanted = {name: prompts[name] for name, text in kept.items() if text is None}
    if wanted:
        source = works.ModelSource.of(model)
        requests = [Request(name, prompt) for name, prompt in wanted.items()]
        made = works.respond(source, requests, settings, steering, load=lambda: model)
        notify(f"{place.label}: {len(wanted)} responses to generate")
        with waiting(f"{place.label}: responses") as count:
            for number, (name, text, end) in enumerate(made, start=1):
                ledger.add(
                    {
                        **{"id": name, "prompt": digest(wanted[name])},
                        **{"response": text, "finish_reason": end},
                    }
                )
                kept[name] = text
                count(number, len(wanted))
    return {name: kept[name] for name in prompts}


def _kept(ledger: Ledger, name: str, prompt: Prompt) -> str | None:
    """The response that is there."""
    record = ledger.get(name, digest(prompt))
    return None if record is None else record["response"]


def tokenized(
    model: LoadedModel, pairs: Sequence[tuple[Prompt, str]]
) -> list[TokenizedExample | None]:
    """Returns prompt and response as token ids, each as rows are trained on; the response ends with
    its end-of-turn token. None where a response is empty or the chat template can't keep it.

    Args:
      model: whose tokenizer and template.
      pairs: (prompt, response).
    """
    rows = [PreferenceRow(prompt, text, {}) for prompt, text in pairs]
    template = model.template()
    examples, report = encode(
        rows, model.tokenizer, template=template, responses=("golden",), on_bad_row="skip"
    )
    left = iter(examples)
    return [None if n in report.rejected else next(left) for n in range(len(rows))]


def tokenized_pairs(
    model: LoadedModel, triples: Sequence[tuple[Prompt, str, str]]
) -> list[TokenizedExample]:
    """Returns prompts with two responses each; without those of which one can't be kept.

    Args:
      model: whose tokenizer and template.
      triples: (prompt, first response, second response).
    """
    (name,) = dimensions = ("other",)
    rows = [
        PreferenceRow(p, first, {name: second}, dimensions=dimensions)
        for p, first, second in triples
    ]
    template = model.template()
    return encode(rows, model.tokenizer, template=template, on_bad_row="skip")[0]
