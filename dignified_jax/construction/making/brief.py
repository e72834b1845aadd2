"""The brief that all makers share: dimensions, prompts, who writes and who verifies."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from dignified_jax.construction import draws, lengths
from dignified_jax.construction.answers import Scenario
from dignified_jax.construction.asking import Inquiry
from dignified_jax.construction.config import ConstructionConfig
from dignified_jax.construction.guide import DimensionGuide, Guides
from dignified_jax.construction.templates import Prompts
from dignified_jax.endpoints.marks import marked
from dignified_jax.files.json_digest import digest


@dataclasses.dataclass(frozen=True)
class Brief:
    """The makers' brief.

    Attributes:
      config: of the construction.
      guides: of all dimensions.
      prompts: all of them.
    """

    config: ConstructionConfig
    guides: Guides
    prompts: Prompts

    def request(self, stage: str, part: str, attempt: int, name: str, **values: str) -> Inquiry:
        """Returns a request to the provider that is drawn for a part of a row.

        Args:
          stage: for which a provider is drawn.
          part: of a row, in words that hold the row's number.
          attempt: from 0.
          name: of the prompt.
          **values: of the names in it.
        """
        seed, providers = self.config.seed, self.config.providers
        model = draws.choose(providers, seed, "provider", stage, part, attempt)
        texts = self.prompts.fill(name, language=self.config.language, **values)
        return Inquiry(model, *texts, draw=f"{seed} {part} {attempt}")

    def measure(self, text: str) -> int:
        """Returns the length of a reply in the configuration's unit."""
        return lengths.MEASURES[self.config.length_unit]([text])[0]

    def length(self, number: int) -> str:
        """Returns a length in words, such as "120 words"."""
        return f"{number} {self.config.length_unit}"

    def listed(self, names: Iterable[str], rubric: bool = False) -> str:
        """Returns dimensions as lines of a prompt, with the statements of their rubrics or not."""
        return "\n".join(described(self.guides[name], rubric) for name in names)


def described(guide: DimensionGuide, rubric: bool = False) -> str:
    """Returns a dimension as lines of a prompt."""
    lines = [f"[{guide.name}] {guide.title}: {guide.definition}"]
    lines += [f"  - {statement}" for statement in guide.rubric] if rubric else []
    return "\n".join([*lines, f"  A reply that fails in it: {guide.failure}"])


def material(parts: Mapping[str, str]) -> str:
    """Returns texts between marks that they can't close themselves."""
    return marked(parts, digest(dict(parts)))


def scenario_parts(scenario: Scenario) -> dict[str, str]:
    """Returns the texts of a scenario, by the names of their marks."""
    return {"situation": scenario.context, "question": scenario.question}
