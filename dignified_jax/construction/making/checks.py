"""Checks by the verifier: yes-or-no criteria, attribution, and the partial order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from dignified_jax.construction import answers, draws
from dignified_jax.construction.answers import Scenario
from dignified_jax.construction.asking import Inquiry
from dignified_jax.construction.making.brief import Brief, described, material, scenario_parts
from dignified_jax.construction.templates import Prompts
from dignified_jax.files.json_digest import digest


@dataclasses.dataclass(frozen=True)
class Check:
    """One question to the verifier.

    Attributes:
      request: what is asked.
      failure: the answer to why the part fails, "" where it passes; raises `answers.Unusable`.
    """

    request: Inquiry
    failure: Callable[[str], str]


def criteria_request(
    prompts: Prompts, model: str, kinds: Sequence[str], parts: Mapping[str, str], about: str
) -> tuple[Inquiry, dict[str, str]]:
    """Returns a request about criteria of these kinds, and name -> statement."""
    criteria = {n: text for kind in kinds for n, text in prompts.criteria[kind].items()}
    texts = prompts.fill(
        "verify",
        material=material(parts),
        about=about,
        criteria="\n".join(f"{name}: {text}" for name, text in criteria.items()),
        keys=quoted(criteria),
    )
    return Inquiry(model, *texts), criteria


def criteria(brief: Brief, kind: str, parts: Mapping[str, str], about: str) -> Check:
    """Returns the check of all criteria of a kind, and of the language."""
    model, language = brief.config.verifier.model, brief.config.language
    named = dict(brief.prompts.criteria)
    named["language"] = {n: t.replace("{language}", language) for n, t in named["language"].items()}
    prompts = dataclasses.replace(brief.prompts, criteria=named)
    request, names = criteria_request(prompts, model, (kind, "language"), parts, about)

    def failure(answer: str) -> str:
        found = answers.read_verdicts(answer, tuple(names))
        return ", ".join(name for name, verdict in found.items() if not verdict)

    return Check(request, failure)


def attribution(brief: Brief, scenario: Scenario, dimension: str) -> Check:
    """Returns the check that a scenario needs a dimension: taken away, the reply fails."""
    texts = brief.prompts.fill(
        "attribution",
        material=material(scenario_parts(scenario)),
        dimension=described(brief.guides[dimension]),
    )

    def failure(answer: str) -> str:
        needed = answers.read_verdicts(answer, ("needed",))["needed"]
        return "" if needed else f"attribution: {dimension} is not needed"

    return Check(Inquiry(brief.config.verifier.model, *texts), failure)


def order(brief: Brief, question: str, golden: str, negative: str, dimension: str) -> Check:
    """Returns the check of the partial order, on every dimension.

    The negative is worse than golden in its own dimension; in no other one is it better, or worse
    by more than the configuration allows. Which reply comes first is drawn, and not told.
    """
    swapped = draws.number("order", digest([question, golden, negative])) < 0.5
    first, second = (negative, golden) if swapped else (golden, negative)
    parts = {"question": question, "first": first, "second": second}
    dimensions = tuple(brief.guides)
    texts = brief.prompts.fill(
        "order",
        material=material(parts),
        dimensions=brief.listed(dimensions),
        keys=quoted(dimensions),
    )

    def failure(answer: str) -> str:
        scores = answers.read_scores(answer, dimensions)
        wrong = []
        for name, pair in scores.items():
            good, bad = reversed(pair) if swapped else pair
            most = brief.config.verifier.most_loss
            right = good > bad if name == dimension else 0 <= good - bad <= most
            wrong += [] if right else [f"{name} golden {good}, negative {bad}"]
        return f"order: {'; '.join(wrong)}" if wrong else ""

    return Check(Inquiry(brief.config.verifier.model, *texts), failure)


def quoted(names: Sequence[str] | Mapping[str, str]) -> str:
    """Returns names as a prompt lists the keys of an object."""
    return ", ".join(f'"{name}"' for name in names)
