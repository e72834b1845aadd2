"""Agreement of reviewers: on their verdicts, on which response is better, and on each statement."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
from sqlmodel import Session, select

from dignified_jax import agreement as figures
from dignified_jax.console.table import Table
from dignified_jax.review.judging import outcome
from dignified_jax.review.rubric import Questionnaire
from dignified_jax.review.tables import ACCEPTED, Account, Judgment, Pair

OUTCOME, BETTER = "accepted", "better response"
LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Rating:
    """A reviewer's current judgment of a pair, as numbers.

    Attributes:
      reviewer: its pseudonym.
      row_id: number of the row.
      dimension: of the pair.
      values: question -> value: `OUTCOME` 0 or 1, `BETTER` "golden", "reject" or "neither", and 0
        or 1 of each statement.
    """

    reviewer: str
    row_id: int
    dimension: str
    values: Mapping[str, int | str]


@dataclasses.dataclass(frozen=True)
class Agreed:
    """Agreement about one question; NaN where a figure is not defined.

    Attributes:
      question: `OUTCOME`, `BETTER` or the id of a statement.
      units: pairs that two reviewers or more have judged.
      exact: share of equal values, the mean over pairs of reviewers by common units.
      cohen: Cohen's kappa, the same mean (Light).
      fleiss: Fleiss' kappa over the units with the most frequent number of reviewers.
      alpha: Krippendorff's, nominal, with the bounds of a 95% bootstrap interval over rows.
    """

    question: str
    units: int
    exact: float
    cohen: float
    fleiss: float
    alpha: tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Severity:
    """A reviewer's severity in logits, positive for those who accept less, and its error."""

    reviewer: str
    ratings: int
    severity: float
    standard_error: float


def read(session: Session, rubric: Questionnaire) -> list[Rating]:
    """Returns the current judgments of reviewers; decisions of adjudicators are not among them."""
    found = (
        select(Judgment, Pair, Account.pseudonym)
        .join(Pair, Pair.id == Judgment.pair_id)
        .join(Account, Account.id == Judgment.account_id)
        .where(Judgment.current, ~Judgment.final)
        .order_by(Judgment.id)
    )
    return [
        Rating(
            who,
            pair.row_id,
            pair.dimension,
            {OUTCOME: int(outcome(judgment) == ACCEPTED), BETTER: judgment.better}
            | {item: int(item in judgment.ticks) for item in rubric.items},
        )
        for judgment, pair, who in session.exec(found)
    ]


def agreement(ratings: Sequence[Rating], replicates: int = 500, seed: int = 0) -> list[Agreed]:
    """Returns the agreement about each question.

    Args:
      ratings: from `read`.
      replicates: samples of the rows, with all their ratings, for the intervals.
      seed: of the samples.
    """
    if not ratings:
        return []
    reviewers = sorted({rating.reviewer for rating in ratings})
    units = sorted({(rating.row_id, rating.dimension) for rating in ratings})
    rows, row_of_unit = np.unique([row for row, _ in units], return_inverse=True)
    draws = np.random.default_rng(seed).multinomial(
        len(rows), np.full(len(rows), 1.0 / len(rows)), size=replicates
    )
    weights = draws[:, row_of_unit]  # (replicate, unit)
    place = {unit: number for number, unit in enumerate(units)}
    found = []
    for question in ratings[0].values:
        values = sorted({rating.values[question] for rating in ratings})
        given = np.zeros((len(units), len(reviewers), len(values)))
        for rating in ratings:
            at = place[rating.row_id, rating.dimension], reviewers.index(rating.reviewer)
            given[(*at, values.index(rating.values[question]))] = 1.0
        found.append(_agreed(question, given, weights))
    return found


def _agreed(question: str, given: np.ndarray, weights: np.ndarray) -> Agreed:
    counts = given.sum(axis=1)
    number = counts.sum(axis=1).astype(int)
    several = number > 1
    if not several.any():
        nothing = float("nan")
        return Agreed(question, 0, nothing, nothing, nothing, (nothing,) * 3)
    common, exact, cohen = figures.exact_and_cohen(given)
    usual = np.bincount(number[several]).argmax()
    distance = 1.0 - np.eye(counts.shape[1])
    alpha = figures.krippendorff_alpha(counts, distance)
    samples = (figures.krippendorff_alpha(counts, distance, each) for each in weights)
    return Agreed(
        question,
        int(several.sum()),
        figures.pair_mean(exact, common),
        figures.pair_mean(cohen, common),
        figures.fleiss_kappa(counts[number == usual]),
        (alpha, *figures.percentile_interval(samples, LEVEL)),
    )


def severities(ratings: Sequence[Rating], rubric: Questionnaire) -> list[Severity]:
    """Fits the reviewers' severities with `python -m dignified_jax.mfrm`, in a process of its own.

    Its judges are the reviewers, its questions the rows, its rubric items the dimensions with each
    question that is answered yes or no.

    Raises:
      ValueError: what the fit says of these ratings, such as that they are disconnected.
    """
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory, "ratings.csv")
        file.write_text(_long_table(ratings, rubric), encoding="utf-8")
        command = [sys.executable, "-m", "dignified_jax.mfrm", str(file), "--no-plots"]
        command += ["--out", f"{directory}/fit", "--pairs", "judge:rubric"]
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            said = done.stderr.strip().replace(f"{directory}/", "") or "no reason was given"
            raise ValueError(f"severities: {said.removeprefix('error: ')}")
        table = pathlib.Path(directory, "fit", "judge.csv").read_text(encoding="utf-8")
    return [
        Severity(
            line["judge"],
            int(line["ratings"]),
            # Blank where a reviewer's ratings tell nothing, such as of statements that all tick.
            *(float(line[name] or "nan") for name in ("measure", "se")),
        )
        for line in csv.DictReader(io.StringIO(table))
    ]


def _long_table(ratings: Sequence[Rating], rubric: Questionnaire) -> str:
    text = io.StringIO()
    write = csv.writer(text).writerow
    write(("model", "question", "judge", "rubric", "score"))
    for rating in ratings:
        for question in (OUTCOME, *rubric.items):
            item = f"{rating.dimension} {question}"
            write(("rows", rating.row_id, rating.reviewer, item, rating.values[question]))
    return text.getvalue()


def tables(agreed: Sequence[Agreed], fitted: Sequence[Severity] = ()) -> list[Table]:
    """Returns both as tables; the second one only where severities were fitted."""
    names = ("question", "units", "exact", "cohen", "fleiss")
    columns = {name: [getattr(each, name) for each in agreed] for name in names}
    for at, name in enumerate(("alpha", "lower", "upper")):
        columns[name] = [each.alpha[at] for each in agreed]
    note = "lower, upper: 95% bootstrap interval of Krippendorff's alpha over rows"
    found = [Table("agreement", "agreement of reviewers", columns, notes=(note,))]
    if fitted:
        names = [field.name for field in dataclasses.fields(Severity)]
        columns = {name: [getattr(each, name) for each in fitted] for name in names}
        table = Table("severities", "severities in logits, above 0 accepts less", columns)
        found.append(table.sorted_by("severity"))
    return found


def shown(value: float) -> str:
    """Returns a figure with two decimals, a dash where it is not defined."""
    return f"{value:.2f}" if np.isfinite(value) else "-"
