"""Rows of a block through all stages, and negatives asked for again for their length."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from dignified_jax.construction import lengths
from dignified_jax.construction.answers import Scenario
from dignified_jax.construction.asking import Asker
from dignified_jax.construction.duplicates import TextIndex
from dignified_jax.construction.health import Health
from dignified_jax.construction.making.brief import Brief
from dignified_jax.construction.making.makers import (
    GoldenMaker,
    GoldenUnit,
    NegativeMaker,
    NegativeUnit,
    ScenarioMaker,
)
from dignified_jax.construction.making.produce import Failure, Outcome, produce
from dignified_jax.construction.sampling import RowPlan


@dataclasses.dataclass(frozen=True)
class Draft:
    """A row on its way.

    Attributes:
      plan: of the row.
      scenario, golden: what came of them, if they were begun.
      negatives: active dimension -> what came of it, if it was begun.
      refused: why it is set aside though all its parts are there; "" if it isn't.
    """

    plan: RowPlan
    scenario: Outcome[Scenario] | None = None
    golden: Outcome[str] | None = None
    negatives: Mapping[str, Outcome[str]] = dataclasses.field(default_factory=dict)
    refused: str = ""

    @property
    def parts(self) -> dict[str, Outcome]:
        """The parts that were begun, by name."""
        found = {"scenario": self.scenario, "golden": self.golden}
        negatives = {f"negative {name}": each for name, each in self.negatives.items()}
        return {name: each for name, each in (found | negatives).items() if each is not None}

    @property
    def failures(self) -> list[Failure]:
        """All attempts that came to nothing."""
        return [failure for part in self.parts.values() for failure in part.failures]

    @property
    def pending(self) -> str:
        """Why it waits for the next run; "" if it doesn't."""
        return next((part.pending for part in self.parts.values() if part.pending), "")

    @property
    def reason(self) -> str:
        """Why it is set aside; "" if it isn't, or not yet."""
        for part in self.parts.values():
            if part.value is None and not part.pending:
                last = part.failures[-1]
                return f"{last.part}: {last.reason}"
        return self.refused

    @property
    def accepted(self) -> bool:
        """True where it is a row."""
        return len(self.negatives) > 0 and not self.pending and not self.reason

    def refuse(self, reason: str) -> Draft:
        """The same row, set aside for a reason of its own."""
        return dataclasses.replace(self, refused=reason)

    @property
    def replies(self) -> dict[str, str]:
        """Golden and negatives of an accepted row, by dimension."""
        negatives = {name: each.value for name, each in self.negatives.items()}
        return {"golden": self.golden.value, **negatives}


class RowMaker:
    """Makes rows block by block; remembers those it has made."""

    def __init__(
        self, brief: Brief, asker: Asker, health: Health, questions: TextIndex, replies: TextIndex
    ) -> None:
        """
        Args:
          brief: what makers share.
          asker: to ask with.
          health: of the models.
          questions, replies: that new ones may not be like.
        """
        self._brief, self._asker, self._health = brief, asker, health
        self._scenarios = ScenarioMaker(brief, questions)
        self._goldens = GoldenMaker(brief, replies)
        self._negatives = NegativeMaker(brief)
        self.drafts: list[Draft] = []

    def make(self, plans: Sequence[RowPlan]) -> None:
        """Makes the rows of a block.

        Raises:
          DegradedError: a model gives too many answers that can't be used.
          EndpointError: no call can be made.
        """
        attempts = self._brief.config.verifier.attempts
        outcomes = produce(self._scenarios, plans, self._asker, self._health, attempts)
        block = [Draft(p, each) for p, each in zip(plans, outcomes, strict=True)]
        units = {
            at: GoldenUnit(draft.plan, draft.scenario.value)
            for at, draft in enumerate(block)
            if draft.scenario.value is not None
        }
        outcomes = produce(self._goldens, list(units.values()), self._asker, self._health, attempts)
        for at, each in zip(units, outcomes, strict=True):
            block[at] = dataclasses.replace(block[at], golden=each)
        wanted = [
            (at, self._unit(draft, name, draft.plan.longer[name]))
            for at, draft in enumerate(block)
            if draft.golden is not None and draft.golden.value is not None
            for name in draft.plan.mask
        ]
        self._fill(block, wanted)
        for number in range(1, self._brief.config.verifier.length_rounds + 1):
            if not self._balance(block, number):
                break
        self.drafts += block

    def _unit(self, draft: Draft, dimension: str, longer: bool, number: int = 0) -> NegativeUnit:
        golden = draft.golden.value
        return NegativeUnit(draft.plan, draft.scenario.value, golden, dimension, longer, number)

    def _fill(self, block: list[Draft], wanted: Sequence[tuple[int, NegativeUnit]]) -> None:
        """Makes negatives; one that is there already gives way to another one alone."""
        units = [unit for _, unit in wanted]
        attempts = self._brief.config.verifier.attempts
        outcomes = produce(self._negatives, units, self._asker, self._health, attempts)
        for (at, unit), outcome in zip(wanted, outcomes, strict=True):
            known = block[at].negatives.get(unit.dimension)
            if known is not None and outcome.value is None and not outcome.pending:
                outcome = known
            negatives = {**block[at].negatives, unit.dimension: outcome}
            block[at] = dataclasses.replace(block[at], negatives=negatives)

    def _balance(self, block: list[Draft], number: int) -> bool:
        """Asks again for negatives of a block that leave a dimension's lengths out of bounds."""
        new = {draft.plan.id: at for at, draft in enumerate(block) if draft.accepted}
        measured = measure(self._brief, [*self.drafts, *block])
        wrong = lengths.wrong_side(measured, list(new), tuple(self._brief.guides))
        wanted = []
        for row, dimension in wrong:
            longer = lengths.margin(measured[row]["golden"], measured[row][dimension]) > 0
            unit = self._unit(block[new[row]], dimension, longer, number)
            wanted.append((new[row], unit))
        self._fill(block, wanted)
        return bool(wanted)


def measure(brief: Brief, drafts: Sequence[Draft]) -> dict[int, dict[str, int]]:
    """Returns id -> lengths of golden and negatives, of the accepted rows."""
    return {
        draft.plan.id: {name: brief.measure(text) for name, text in draft.replies.items()}
        for draft in drafts
        if draft.accepted
    }


def refuse_surplus(brief: Brief, drafts: Sequence[Draft]) -> list[Draft]:
    """Returns the drafts, those refused whose lengths leave a dimension out of bounds."""
    gone = set(lengths.surplus(measure(brief, drafts)))
    reason = "length: golden and negatives would be told apart by it"
    return [draft.refuse(reason) if draft.plan.id in gone else draft for draft in drafts]
