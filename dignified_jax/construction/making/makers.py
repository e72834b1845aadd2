"""Makers of scenarios, golden replies and negatives."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from dignified_jax.construction import answers, draws, duplicates, lengths
from dignified_jax.construction.answers import Scenario, Unusable
from dignified_jax.construction.asking import Inquiry
from dignified_jax.construction.duplicates import TextIndex
from dignified_jax.construction.making import checks
from dignified_jax.construction.making.brief import Brief, described, material, scenario_parts
from dignified_jax.construction.making.checks import Check
from dignified_jax.construction.sampling import RowPlan


class ScenarioMaker:
    """A scenario out of a plan: its question is like no other one's, and needs every dimension."""

    stage = "scenario"

    def __init__(self, brief: Brief, questions: TextIndex) -> None:
        """
        Args:
          brief: what makers share.
          questions: of all rows so far, and of those that none may be like.
        """
        self._brief, self._questions = brief, questions

    def part(self, unit: RowPlan) -> str:
        return f"scenario of row {unit.id}"

    def request(self, unit: RowPlan, attempt: int) -> Inquiry:
        selection = unit.paradigm == "selection"
        seeds = {f"{d}_question": examples[0].question for d, examples in unit.seeds.items()}
        return self._brief.request(
            self.stage,
            self.part(unit),
            attempt,
            f"scenario_{unit.paradigm}",
            dimensions=self._brief.listed(unit.mask),
            seeds=material(seeds),
            keys=checks.quoted(answers.scenario_keys(selection)),
            names=checks.quoted(unit.mask),
        )

    def read(self, unit: RowPlan, answer: str) -> Scenario:
        found = answers.read_scenario(answer, unit.mask, unit.paradigm == "selection")
        self._refuse_known(unit, found)
        return found

    def checks(self, unit: RowPlan, value: Scenario) -> Sequence[Check]:
        brief = self._brief
        about = f"The question needs these qualities of a reply:\n{brief.listed(unit.mask)}"
        asked = checks.criteria(brief, "scenario", scenario_parts(value), about)
        return [asked, *(checks.attribution(brief, value, name) for name in unit.mask)]

    def keep(self, unit: RowPlan, value: Scenario) -> None:
        self._refuse_known(unit, value)  # another one of this round may be like it
        self._questions.add(unit.id, value.question)

    def _refuse_known(self, unit: RowPlan, value: Scenario) -> None:
        other = self._questions.find(value.question, besides=unit.id)
        if other is not None:
            raise Unusable(f"a near-duplicate of {named(other)}")


@dataclasses.dataclass(frozen=True)
class GoldenUnit:
    """The material of a golden reply."""

    plan: RowPlan
    scenario: Scenario


class GoldenMaker:
    """A reply that is good in every active dimension."""

    stage = "golden"

    def __init__(self, brief: Brief, replies: TextIndex) -> None:
        """
        Args:
          brief: what makers share.
          replies: golden ones of all rows so far.
        """
        self._brief, self._replies = brief, replies

    def part(self, unit: GoldenUnit) -> str:
        return f"golden of row {unit.plan.id}"

    def request(self, unit: GoldenUnit, attempt: int) -> Inquiry:
        least, most = self._brief.config.length
        share = draws.number(self._brief.config.seed, "length", unit.plan.id)
        return self._brief.request(
            self.stage,
            self.part(unit),
            attempt,
            "golden",
            material=material({"question": unit.scenario.question}),
            dimensions=self._brief.listed(unit.plan.mask, rubric=True),
            length=self._brief.length(least + round(share * (most - least))),
        )

    def read(self, unit: GoldenUnit, answer: str) -> str:
        return answers.read_reply(answer, unit.scenario.question)

    def checks(self, unit: GoldenUnit, value: str) -> Sequence[Check]:
        about = f"The qualities that are needed:\n{self._brief.listed(unit.plan.mask)}"
        parts = scenario_parts(unit.scenario) | {"reference": value}
        return [checks.criteria(self._brief, "reference", parts, about)]

    def keep(self, unit: GoldenUnit, value: str) -> None:
        other = self._replies.find(value, besides=unit.plan.id)
        if other is not None:
            raise Unusable(f"a near-duplicate of {named(other)}")
        self._replies.add(unit.plan.id, value)


@dataclasses.dataclass(frozen=True)
class NegativeUnit:
    """The material of a negative.

    Attributes:
      plan, scenario, golden: of the row.
      dimension: that the reply is to fail in.
      longer: whether it is asked to be longer than golden.
      round: 0; more where it is asked for again for its length.
    """

    plan: RowPlan
    scenario: Scenario
    golden: str
    dimension: str
    longer: bool
    round: int = 0


class NegativeMaker:
    """A reply that fails in one dimension and in no other."""

    stage = "negative"

    def __init__(self, brief: Brief) -> None:
        """
        Args:
          brief: what makers share.
        """
        self._brief = brief

    def part(self, unit: NegativeUnit) -> str:
        again = f", asked again {unit.round}" if unit.round else ""
        return f"negative {unit.dimension} of row {unit.plan.id}{again}"

    def request(self, unit: NegativeUnit, attempt: int) -> Inquiry:
        brief, part = self._brief, self.part(unit)
        parts = {"question": unit.scenario.question, "reference": unit.golden}
        examples = {}
        for number, seed in enumerate(unit.plan.seeds[unit.dimension], start=1):
            examples |= {f"question_{number}": seed.question, f"good_reply_{number}": seed.good}
            examples |= {f"weak_reply_{number}": seed.bad} if seed.bad else {}
        others = [name for name in unit.plan.mask if name != unit.dimension]
        golden = brief.measure(unit.golden)
        length = lengths.target(golden, unit.longer, brief.config.seed, part, attempt)
        return brief.request(
            self.stage,
            part,
            attempt,
            "negative",
            material=material(parts),
            dimension=described(brief.guides[unit.dimension], rubric=True),
            others=brief.listed(others, rubric=True) or "(none besides)",
            demonstrations=material(examples),
            length=brief.length(length),
        )

    def read(self, unit: NegativeUnit, answer: str) -> str:
        found = answers.read_reply(answer, unit.scenario.question)
        if duplicates.alike(found, unit.golden) >= self._brief.config.verifier.cosmetic:
            raise Unusable("an edit of the golden reply")
        return found

    def checks(self, unit: NegativeUnit, value: str) -> Sequence[Check]:
        brief, guide = self._brief, self._brief.guides[unit.dimension]
        others = [name for name in unit.plan.mask if name != unit.dimension]
        about = f"The target quality:\n{described(guide)}"
        about += f"\nThe other qualities:\n{brief.listed(others)}" if others else ""
        parts = scenario_parts(unit.scenario) | {"reference": unit.golden, "negative": value}
        question = unit.scenario.question
        return [
            checks.criteria(brief, "negative", parts, about),
            checks.order(brief, question, unit.golden, value, unit.dimension),
        ]

    def keep(self, unit: NegativeUnit, value: str) -> None:
        """Takes every one that passed."""


def named(key: object) -> str:
    """Returns a row in words: its number here, or where it is from."""
    return f"row {key}" if isinstance(key, int) else str(key)
