"""Long tables, one judgment a row, to the dense arrays of `fit`, with labels kept."""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
from collections.abc import Sequence

import numpy as np

from dignified_jax.mfrm.input import levels as labelling
from dignified_jax.mfrm.input import rows as rows_of
from dignified_jax.mfrm.input import scores as scoring
from dignified_jax.mfrm.input.columns import TableLike, read_columns
from dignified_jax.mfrm.input.facets import facet_columns
from dignified_jax.mfrm.input.order import RatingOrder, times
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.result import FACETS

# 2^31 entries of int32 successes and trials are 16 GiB.
MOST_ENTRIES = 2**31
MOST_TRIALS = 2**31 - 1  # an int32


@dataclasses.dataclass(frozen=True)
class Ratings:
    """Ratings with names: pass `successes` and `trials` to `fit`.

    Attributes:
      successes: (model, question, judge, rubric) int32.
      trials: as successes; 0 where the table has no row, above 1 where it has several.
      labels: facet -> labels of its levels, in the order of the arrays: sorted.
      notes: sentences on what was left out, stands twice or looks odd.
      order: when each rating was given, where the table was read with a column of it.
      names: facet -> what it is called, where the table was read with `facets`.
    """

    successes: np.ndarray
    trials: np.ndarray
    labels: dict[str, tuple[object, ...]]
    notes: tuple[str, ...] = ()
    order: RatingOrder | None = None
    names: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class OrdinalRatings:
    """Ratings in ordered categories, with names: pass `counts` to `fit` with its `model=`.

    Attributes:
      counts: (model, question, judge, rubric, category) int32 numbers of ratings.
      labels: facet -> labels of its levels, in the order of the arrays: sorted.
      categories: the scores of the categories, ascending.
      notes: sentences on what was left out, stands twice or looks odd.
      order: when each rating was given, where the table was read with a column of it.
      names: facet -> what it is called, where the table was read with `facets`.
    """

    counts: np.ndarray
    labels: dict[str, tuple[object, ...]]
    categories: tuple[float, ...]
    notes: tuple[str, ...] = ()
    order: RatingOrder | None = None
    names: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def trials(self) -> np.ndarray:
        """(model, question, judge, rubric) numbers of ratings."""
        return self.counts.sum(axis=-1)


def from_long(
    table: TableLike,
    *,
    model: str = "model",
    question: str | None = "question",
    judge: str | None = "judge",
    rubric: str | None = "rubric",
    score: str = "score",
    trials: str | None = None,
    threshold: float | None = None,
    categories: tuple[float, float] | None = None,
    score_range: tuple[float, float] | None = None,
    missing: Sequence[object] | None = None,
    order: str | None = None,
    facets: Sequence[str] | None = None,
    sparse: bool = False,
) -> Ratings | OrdinalRatings | SparseRatings:
    """Reads judgments in long form. Rows of the same model, question, judge and item are summed.

    What looks odd (labels that look alike, rows that stand twice, scores that look like codes for
    missing ones) is told in the result's `notes`, and as a warning.

    Args:
      table: a mapping of columns, a list of mappings, a pandas, polars, Arrow or Hugging Face
        table, or the path of a CSV (.csv, .tsv), JSON Lines or JSON file (all also .gz), or of a
        Parquet file.
      model: column of the model's label.
      question: column of the question's label; None for a single, nameless question.
      judge: column of the judge's label; None for a single, nameless judge.
      rubric: column of the rubric item's label; None for a single, nameless item.
      score: column of the score: 0 or 1 (true, false, yes, no, t, f, y, n), or anything ordered
        with a threshold.
      trials: column of the number of judgments a row stands for; score counts its successes then.
      threshold: scores of at least this are successes.
      categories: lowest and highest score of an ordinal scale, whose whole numbers are kept for an
        ordinal model: (1, 5). If all scores lie on a coarser grid, such as 0, 5, ..., 100, or on
        one of half points, its places are the categories.
      score_range: lowest and highest score there is, others are refused; for use with threshold.
      missing: codes that stand for no score, such as (-1, 99, "NA"). Rows with one of them, or with
        nothing, as their score (trials), or with nothing or a code that is no number as a label,
        are left out. None refuses them.
      order: column of the order or time of a rating, for `drift`: numbers, or dates in ISO 8601.
        Where it is blank the rating counts, but has no time. Not for lists of ratings.
      facets: columns of any number of facets, in place of the four above: that which is scored (its
        levels are the models), that of the occasions on which it shows its quality (the questions,
        random by default), the judges, and more that are alike (rubric items). More than four are
        kept as a list. See `facet_columns`.
      sparse: whether to keep a list, for `fit_sparse`.

    Returns:
      `Ratings`, `OrdinalRatings` with categories, or the `SparseRatings` of a list.

    Raises:
      ValueError: for missing columns, missing labels or scores, and scores other than 0 or 1
        without a threshold; it names the rows, counted from 1 without the header.
    """
    if trials is not None and threshold is not None:
        raise ValueError("threshold can't be used with a trials column: scores are counts there")
    for name, bound in (("threshold", threshold), ("score_range", score_range)):
        if bound is not None and not np.isfinite(bound).all():
            raise ValueError(f"{name} must be finite, found {bound}")
    if score_range is not None and not score_range[0] < score_range[1]:
        raise ValueError(
            f"score_range must be the lowest and the highest score, found {score_range}"
        )
    if categories is not None:
        if trials is not None or threshold is not None:
            raise ValueError("categories can't be used with a threshold or a trials column")
        limits = rows_of.category_limits(categories)
    given = dict(zip(FACETS, (model, question, judge, rubric), strict=True))
    names, extra = (given, ()) if facets is None else facet_columns(facets, given)
    if order is not None and (sparse or extra):
        raise ValueError(
            "order is not kept in a list of ratings: leave it out, or name four facets"
        )
    called = {} if facets is None else {facet: name for facet, name in names.items() if name}
    wanted = list(
        dict.fromkeys(
            name for name in (*names.values(), *extra, score, trials, order) if name is not None
        )
    )
    columns = read_columns(table, wanted)
    source = f"{table}: " if isinstance(table, (str, os.PathLike)) else ""
    labels = [*names.items(), *zip(extra, extra, strict=True)]
    rows_of.refuse_twice([*labels, ("score", score), ("trials", trials)], source)
    notes: list[str] = []
    problems = scoring.Problems(1 + np.arange(len(columns[score])))
    if missing is not None:
        columns, problems.rows = rows_of.without_missing(
            columns, [score, trials], [name for _, name in labels], missing, notes
        )
    _refuse_no_rows(columns[score], source, notes)
    words = threshold is None and categories is None and trials is None
    scores = scoring.numbers(score, columns[score], problems, words=words)
    counts = np.ones(scores.size)
    if trials is not None:
        counts = scoring.numbers(trials, columns[trials], problems)
        rated = (counts != 0) | (scores != 0)
        if not rated.all():
            notes.append(f"{int((~rated).sum())} rows of 0 {trials} left out")
            columns, problems.rows = rows_of.chosen(columns, rated), problems.rows[rated]
            scores, counts = scores[rated], counts[rated]
            _refuse_no_rows(columns[score], source, notes)
    known, places = ~np.isnan(scores), (0.0, 1.0)
    if score_range is not None:
        outside = (scores < score_range[0]) | (scores > score_range[1])
        wrong = f"{score} must be from {score_range[0]:g} to {score_range[1]:g}"
        scoring.out_of_range(problems, wrong, outside & known, scores, columns[score])
    elif threshold is not None and (odd := scoring.suspects(scores)):
        listed = ", ".join(f"{value:g} ({int((scores == value).sum())} rows)" for value in odd)
        notes.append(
            f"{score} {listed} may stand for a missing score, and counts as one: name it as "
            "missing, or give the range of the scores"
        )
    if categories is not None:
        inside = (scores >= limits[0]) & (scores <= limits[1])
        wrong = f"{score} must be from {limits[0]:g} to {limits[1]:g}"
        scoring.out_of_range(problems, wrong, ~inside & known, scores, columns[score])
        uneven = inside & (2 * scores != np.round(2 * scores))
        wrong = f"{score} must be a whole number, or one and a half, for categories="
        cure = "round means of several scores, or give a threshold"
        scoring.report(problems, wrong, uneven, lambda row: columns[score][row], cure)
        places = rows_of.places_of(score, scores[inside & ~uneven], limits, notes)
    elif trials is not None:
        integral = (scores == np.round(scores)) & (counts == np.round(counts))
        odd = ~(integral & (scores >= 0) & (scores <= counts)) & ~np.isnan(scores + counts)
        wrong = f"{score} and {trials} must be whole with 0 <= {score} <= {trials}"
        pairs = (
            [f"{s:g} of {n:g}" for s, n in zip(scores, counts, strict=True)] if odd.any() else []
        )
        scoring.report(problems, wrong, odd, lambda row: pairs[row])
    elif threshold is None:
        odd = known & (scores != 0) & (scores != 1)
        wrong = f"{score} must be 0 or 1 (give threshold= or categories= for ordinal scores)"
        scoring.out_of_range(problems, wrong, odd, scores, columns[score])
    levels, codes = {}, []
    for facet, name in labels:
        if name is None:
            levels[facet], code = (None,), np.zeros(scores.size, np.int64)
        else:
            labelling.refuse_lists(f"{source}{name}", columns[name], problems.rows)
            gone = np.fromiter(map(scoring.is_missing, columns[name]), bool, scores.size)
            scoring.report(problems, f"{name} is missing", gone, cure=scoring.LEAVE_OUT)
            levels[facet], code = labelling.as_levels(columns[name], gone)
            notes += labelling.doubts(called.get(facet, facet), levels[facet])
        codes.append(code)
    when = None if order is None else times(order, columns[order], problems)
    if problems.lines:
        raise ValueError("\n".join(source + problem for problem in problems.lines))
    if categories is not None and (scores == scores[0]).all():
        raise ValueError(
            f"{source}all {scores.size:,} scores are {scores[0]:g}: there is nothing to compare"
        )
    notes += rows_of.repeats(codes, scores, counts, *(() if when is None else (when,)))
    for note in notes:
        warnings.warn(note, stacklevel=2)
    if threshold is not None:
        scores = scores >= threshold
    if sparse or extra:
        if categories is not None:
            scores, places = np.searchsorted(places, scores), tuple(places)
        return SparseRatings(
            *codes[:4],
            scores.astype(np.int64),
            counts.astype(np.int64),
            levels,
            dict(zip(extra, codes[4:], strict=True)),
            names=called,
            notes=tuple(notes),
            categories=None if categories is None else places,
        )
    shape = tuple(len(levels[facet]) for facet in FACETS)
    if categories is not None:
        shape = (*shape, len(places))
        codes.append(np.searchsorted(places, scores))
    ordered = None
    if when is not None:
        given = codes[-1] if categories is not None else scores.astype(np.int64)
        index = dict(zip(FACETS, codes[:4], strict=True))
        ordered = RatingOrder(order, index, given, counts.astype(np.int64), when)
    if math.prod(shape) > MOST_ENTRIES:
        raise ValueError(
            f"{scores.size} rows would fill a dense array of shape {shape}, {math.prod(shape):.1e} "
            "entries: too many. Keep a list (sparse=True, for mfrm.fit_sparse), or split the "
            "questions."
        )
    flat = np.ravel_multi_index(codes, shape)

    def dense(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(flat, weights=values, minlength=math.prod(shape))
        if sums.max() > MOST_TRIALS:
            raise ValueError(
                f"{source}{sums.max():.0f} ratings of a model by a judge on a question and rubric: "
                f"at most {MOST_TRIALS:,} can be counted"
            )
        return sums.astype(np.int32).reshape(shape)

    if categories is not None:
        return OrdinalRatings(dense(counts), levels, tuple(places), tuple(notes), ordered, called)
    return Ratings(dense(scores), dense(counts), levels, tuple(notes), ordered, called)


def _refuse_no_rows(scores: Sequence[object], source: str, notes: Sequence[str]) -> None:
    """Raises ValueError where nothing is left to read."""
    if not scores:
        left_out = "".join(f" ({note})" for note in notes)
        raise ValueError(f"{source or 'the table '}has no rows{left_out}")
