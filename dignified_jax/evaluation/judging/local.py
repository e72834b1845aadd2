"""A local model as judge: the log-odds of two answers, all items of a response in one tree.

A response's items differ in the end of their prompts alone. Prompt, response and instructions are
computed once and the items branch off (`trees`); the log-odds are those of separate prompts.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from dignified_jax.data.schema import BadRowsError, PreferenceRow
from dignified_jax.data.template import ChatTemplate
from dignified_jax.data.tokenize import TokenizedExample, encode
from dignified_jax.data.tokenizer import Tokenizer
from dignified_jax.evaluation.judging import prompts, trees
from dignified_jax.evaluation.judging.judgments import Judge, Verdict
from dignified_jax.evaluation.models import LoadedModel
from dignified_jax.evaluation.responses import Response
from dignified_jax.evaluation.rubrics import Rubric
from dignified_jax.files.json_digest import digest

ANSWERS = ("Yes", "No")
NEUTRAL = Response("", "", "N/A", "N/A")
"""A response without content, whose log-odds are a judge's leaning on an item."""

_DIMENSION = ("other",)


@dataclasses.dataclass(frozen=True)
class LocalSettings:
    """How a local model judges.

    Attributes:
      answers: the words that say that a statement is true, and that it is not.
      threshold: log-odds, in nats, above which an item counts as true.
      neutral: whether the log-odds of a response without content are taken off, item by item
        (Zhao et al., "Calibrate Before Use" (2021)): a small model leans to one answer.
      longest: most tokens of a prompt; None for what the model's positions hold.
    """

    answers: tuple[str, str] = ANSWERS
    threshold: float = 0.0
    neutral: bool = False
    longest: int | None = None


def judge_of(name: str, weights: str, tokenizer: Tokenizer, settings: LocalSettings) -> Judge:
    """Returns who judges; the hash covers weights, chat template, wording and settings.

    Args:
      name: label.
      weights: their digest.
      tokenizer: with a chat template.
      settings: how the model judges.
    """
    told = [tokenizer.get_chat_template(), dataclasses.asdict(settings)]
    return Judge(name, "model", digest([weights, prompts.template_hash("item"), *told]))


class LocalJudge:
    """A local model with settings and a rubric."""

    def __init__(self, model: LoadedModel, rubric: Rubric, settings: LocalSettings) -> None:
        """
        Raises:
          ValueError: the tokenizer has no usable chat template, or both answers begin with the
            same token.
        """
        self.rubric, self.settings, self._model = rubric, settings, model
        self._template: ChatTemplate = model.template()
        self._ids = _answer_ids(self.tokenized(NEUTRAL), settings.answers)
        self.scorer = trees.BranchScorer(model.module, model.params, self._ids)
        self._leaning: np.ndarray | None = None

    def __call__(
        self, responses: Sequence[Response], progress: Callable[[int, int], None] | None = None
    ) -> Iterator[tuple[Response, dict[str, Verdict]]]:
        """Judges responses, in another order than theirs: (response, item -> verdict) each.

        Args:
          responses: to judge.
          progress: called with the responses done and all of them.
        """
        done = 0
        grown, unfit = self._grow(responses)
        for response, reason in unfit:
            verdict = Verdict(None, reason=reason, time=_now())
            done += 1
            yield response, {item.name: verdict for item in self.rubric.items}
        if not grown:
            return
        leaning = self._leanings() if self.settings.neutral else 0.0
        for place, log_odds in self._log_odds([tree for _, tree in grown]):
            time = _now()
            scores = log_odds - leaning
            found = {
                item.name: self._verdict(float(value), time)
                for item, value in zip(self.rubric.items, scores, strict=True)
            }
            done += 1
            if progress is not None:
                progress(done, len(responses))
            yield grown[place][0], found

    def _verdict(self, log_odds: float, time: str) -> Verdict:
        if not np.isfinite(log_odds):
            return Verdict(None, reason="the model's log-odds are not finite", time=time)
        return Verdict(int(log_odds > self.settings.threshold), log_odds, time=time)

    def _log_odds(self, grown: Sequence[TokenizedExample]) -> Iterator[tuple[int, np.ndarray]]:
        for batch in trees.pack(grown):
            yield from self.scorer(batch, len(self.rubric.items)).items()

    def _leanings(self) -> np.ndarray:
        """(items,) log-odds of a response without content, computed once."""
        if self._leaning is None:
            grown, unfit = self._grow([NEUTRAL])
            if unfit:
                raise ValueError(f"judge {self._model.name}: {unfit[0][1]}")
            self._leaning = next(self._log_odds([grown[0][1]]))[1]
        return self._leaning

    def _grow(
        self, responses: Iterable[Response]
    ) -> tuple[list[tuple[Response, TokenizedExample]], list[tuple[Response, str]]]:
        """(response, tree) of those that fit, and (response, reason) of the others."""
        longest = self.settings.longest or self._model.module.config.max_position_embeddings
        grown, unfit = [], []
        for response in responses:
            try:
                examples = self.tokenized(response)
            except BadRowsError as error:
                problem = error.problems[0]
                unfit.append((response, f"expected {problem.expected}, found {problem.found}"))
                continue
            most = max(len(example.prompt) for example in examples)
            if most > longest:
                unfit.append((response, f"{most} tokens, of at most {longest}"))
                continue
            tree = trees.grow([example.prompt for example in examples], len(grown))
            grown.append((response, tree))
        return grown, unfit

    def tokenized(self, response: Response) -> list[TokenizedExample]:
        """The prompts about each item, the answers as their replies."""
        first, second = self.settings.answers
        rows = [
            PreferenceRow(
                prompt=prompts.item_prompt(response, item, self.settings.answers),
                golden=first,
                rejects={_DIMENSION[0]: second},
                dimensions=_DIMENSION,
            )
            for item in self.rubric.items
        ]
        return encode(rows, self._model.tokenizer, template=self._template)[0]


def _answer_ids(examples: Sequence[TokenizedExample], answers: tuple[str, str]) -> tuple[int, int]:
    first, second = (int(reply[0]) for reply in examples[0].responses)
    if first == second:
        raise ValueError(
            f"answers: expected two that begin with different tokens, found {answers}, which both "
            f"begin with token {first} in this tokenizer"
        )
    return first, second


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
