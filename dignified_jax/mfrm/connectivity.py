"""Which levels the ratings allow to compare: the subsets of a disconnected design.

Severities are comparable where chains of shared ratings join them. Judges who rated disjoint
models AND share nothing else differ by an amount that only the priors decide, silently. Levels of
a random effect, all drawn from one population, count as joined: its spread is estimated. Exactly:
two levels of a facet are comparable if their difference is estimable in the model of main
effects model + question + judge + rubric, that is if it is orthogonal to the null space of the
design's Gram matrix. Questions are eliminated first, so the matrix has M + J + I rows.

(FACETS lists subsets by joining observations pair by pair, Weeks & Williams (1964), a sufficient
condition; the null space is exact.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.input.scores import shown
from dignified_jax.mfrm.result import FACETS, level_name
from dignified_jax.mfrm.solver.blocks import Totals, as_blocks, totals

SHOWN_GROUPS, SHOWN = 6, 8
RANDOM_QUESTIONS = (
    "Methods 'quadrature' and 'laplace' draw questions from one population, which joins these"
)
Subsets = dict[str, list[list[int]]]


class DisconnectedError(ValueError):
    """Raised by `fit` for a design whose levels can't all be compared.

    Attributes:
      subsets: facet -> groups of comparable levels, for each facet with more than one group.
    """

    def __init__(self, subsets: Subsets):
        self.subsets = subsets
        super().__init__(self.described())

    def described(self, labels: Mapping[str, Sequence[object]] | None = None) -> str:
        """The message, with levels by label (facet -> labels) or number."""
        by_number = (
            f"{facet}: " + listed_groups([_shown(group) for group in groups])
            for facet, groups in self.subsets.items()
        )
        listed = "; ".join(by_number if labels is None else self.named(labels))
        return (
            "the design is disconnected: no chain of ratings joins these subsets, so their "
            f"difference would be set by the priors alone. {listed}. Fit the subsets apart, add "
            "ratings or anchors that join them, or pass allow_disconnected=True (with "
            "method='ridge': other methods have no prior on models, judges and items)."
            + f" {RANDOM_QUESTIONS}."
            * self.of_questions()
        )

    def named(self, labels: Mapping[str, Sequence[object]]) -> list[str]:
        """Returns "facet: labels | labels" of each facet, the first of many."""

        def listed(facet: str, group: list[int]) -> str:
            names = ", ".join(
                shown(str(level_name(labels[facet][level])))[1:-1] for level in group[:SHOWN]
            )
            return names + (f", ... ({len(group)})" if len(group) > SHOWN else "")

        return [
            f"{facet}: " + listed_groups([listed(facet, group) for group in groups])
            for facet, groups in self.subsets.items()
        ]

    def of_questions(self) -> bool:
        """Tells whether questions are all that parts the models, which only the ridge minds."""
        return set(self.subsets) <= {"model", "question"}


def listed_groups(groups: Sequence[str], between: str = " | ") -> str:
    """The first groups, and the number of all where they are many."""
    more = f"{between}... ({len(groups)} subsets)" if len(groups) > SHOWN_GROUPS else ""
    return between.join(groups[:SHOWN_GROUPS]) + more


def _shown(group: list[int]) -> str:
    return ", ".join(map(str, group[:12])) + (f", ... ({len(group)})" if len(group) > 12 else "")


def subsets(
    trials: jax.typing.ArrayLike, anchored: Mapping[str, np.ndarray] | None = None
) -> Subsets:
    """Groups of comparable levels of every facet that has more than one; {} if connected.

    Args:
      trials: (model, question, judge, rubric), 0 where not rated.
      anchored: facet -> bool array of its levels that are known, which joins them.
    """
    return subsets_of(_totals(xp.asarray(trials, xp.float32)), anchored)


@xp.at_once
def _totals(trials: jax.Array) -> Totals:
    return totals(as_blocks(xp.zeros_like(trials), trials))


def subsets_of(sums: Totals, anchored: Mapping[str, np.ndarray] | None = None) -> Subsets:
    """Groups as `subsets` gives them, from the totals of the ratings."""
    counts = _tables(sums)
    known = {
        facet: np.zeros(counts[facet].size, bool) | (anchored or {}).get(facet, False)
        for facet in FACETS
    }
    # (model, judge, rubric) after eliminating the questions to be estimated.
    sizes = [counts[facet].size for facet in ("model", "judge", "rubric")]
    gram = np.block(
        [
            [np.diag(counts["model"]), counts["model_judge"], counts["model_rubric"]],
            [counts["model_judge"].T, np.diag(counts["judge"]), counts["judge_rubric"]],
            [counts["model_rubric"].T, counts["judge_rubric"].T, np.diag(counts["rubric"])],
        ]
    )
    by_question = np.concatenate(
        [counts["question_model"], counts["question_judge"], counts["question_rubric"]], axis=1
    )
    weight = np.where(known["question"], 0.0, 1.0 / np.maximum(counts["question"], 1.0))
    gram -= by_question.T @ (weight[:, None] * by_question)
    free = ~np.concatenate([known["model"], known["judge"], known["rubric"]])
    rated = np.concatenate([counts["model"], counts["judge"], counts["rubric"]])
    scale = 1.0 / np.sqrt(np.maximum(rated, 1.0))
    scaled = (scale[:, None] * gram * scale)[np.ix_(free, free)]
    values, vectors = np.linalg.eigh(scaled)
    null = np.zeros((free.size, int((values < 1e-10).sum())))
    null[free] = scale[free, None] * vectors[:, values < 1e-10]
    model, judge, rubric = np.split(null, np.cumsum(sizes)[:-1])
    question = -weight[:, None] * (by_question @ null)
    rows = {"model": model, "question": question, "judge": judge, "rubric": rubric}
    # Equal rows agree to rounding, which is relative to the whole null space.
    size = np.abs(np.concatenate(list(rows.values()))).max(initial=0.0)
    found = {facet: _equal_rows(rows[facet], 1e-6 * size) for facet in FACETS}
    return {facet: groups for facet, groups in found.items() if len(groups) > 1}


def rated_levels(sums: Totals) -> dict[str, np.ndarray]:
    """Facet -> (L,) numbers of ratings."""
    counts = _tables(sums)
    return {facet: counts[facet] for facet in FACETS}


def _equal_rows(rows: np.ndarray, tolerance: float) -> list[list[int]]:
    """Indices of equal rows, in order of first appearance."""
    # Rows that differ do so along a fixed generic direction too.
    key = rows @ np.random.default_rng(0).normal(size=rows.shape[1])
    order = np.argsort(key, kind="stable")
    group = np.cumsum(np.diff(key[order], prepend=key[order[:1]]) > tolerance)
    groups: dict[int, list[int]] = {}
    for index, label in sorted(zip(order.tolist(), group.tolist(), strict=True)):
        groups.setdefault(label, []).append(index)
    return list(groups.values())


def _tables(sums: Totals) -> dict[str, np.ndarray]:
    """Numbers of ratings by level and by pair of levels, exact, in float64."""
    judges = len(sums.rated_pairs)
    rated = np.asarray(sums.rated, np.float64)
    by_question, by_model = rated.sum(axis=0), rated.sum(axis=2)  # (R, Q), (M, R)
    by_cell = rated[:, :judges].sum(axis=1)
    by_rater = by_model.sum(axis=0)
    return {
        "model": by_cell.sum(axis=1),
        "question": by_cell.sum(axis=0),
        "judge": by_rater[:judges],
        "rubric": by_rater[judges:],
        "model_judge": by_model[:, :judges],
        "model_rubric": by_model[:, judges:],
        "judge_rubric": np.asarray(sums.rated_pairs, np.float64),
        "question_model": by_cell.T,
        "question_judge": by_question[:judges].T,
        "question_rubric": by_question[judges:].T,
    }
