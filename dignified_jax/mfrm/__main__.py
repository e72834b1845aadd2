"""Calibrate ratings: scores of models freed of judges', items' and questions' severity.

RATINGS is a CSV (.csv, .tsv), JSON Lines or JSON (also .gz) or Parquet file with a judgment a row:
columns model, question, judge, rubric and score. Prints a table for each facet, their separation
and the judges' bias towards models; with --out also writes them as CSV and JSON, figures as PNG,
and all in one page, report.html.

example, on ratings that ship with the package (amber-judge favours amber-small, of its family):
  python -m dignified_jax.mfrm embedded:ratings.csv --out calibrated --bootstrap 1000
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import pathlib
import sys
import warnings
from collections.abc import Sequence

import jax
import numpy as np

from dignified_jax import embedded
from dignified_jax.console import entry
from dignified_jax.console.labels import printable, printable_lines
from dignified_jax.console.safe_stream import SafeStream
from dignified_jax.console.table import Table
from dignified_jax.console.waiting import waiting
from dignified_jax.mfrm.connectivity import RANDOM_QUESTIONS, DisconnectedError
from dignified_jax.mfrm.diagnostics.bootstrap import bootstrap
from dignified_jax.mfrm.diagnostics.diagnose import diagnose
from dignified_jax.mfrm.diagnostics.group_anchors import anchor_groups
from dignified_jax.mfrm.diagnostics.sensitivity import leave_one_judge_out
from dignified_jax.mfrm.fit import fit
from dignified_jax.mfrm.input.long_table import OrdinalRatings, Ratings, from_long
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.report import arguments as options_of
from dignified_jax.mfrm.report import files
from dignified_jax.mfrm.report import options as parsing
from dignified_jax.mfrm.report import report as reports
from dignified_jax.mfrm.report.arguments import ABSENT
from dignified_jax.mfrm.report.options import FitOption
from dignified_jax.mfrm.report.sparse_report import sparse_report, sparse_summary
from dignified_jax.mfrm.result import FACETS, Fit
from dignified_jax.mfrm.sparse.fit import fit_sparse

PRINTED_ROWS = 30
# More judges and questions than this have no standard errors in a sparse fit: each is a solve.
MOST_SOLVES = 2000


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the exit status, 1 where ratings or options are bad."""
    arguments = _parser().parse_args(argv)
    precise = jax.enable_x64(True) if arguments.float64 else contextlib.nullcontext()
    try:
        # A reader that has gone away, as of `| head`, is no failure of the work.
        with precise, contextlib.redirect_stdout(SafeStream(sys.stdout)):
            status = _run(arguments)
            sys.stdout.flush()
            return status
    except MemoryError as error:
        text = f"not enough memory: {error}" if str(error) else "not enough memory"
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except (ValueError, ImportError) as error:
        text = str(error)
    print(printable_lines(f"error: {text}"), file=SafeStream(sys.stderr))
    return 1


def _parser() -> argparse.ArgumentParser:
    return options_of.parser(__doc__)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.out is not None and arguments.out.exists() and not arguments.out.is_dir():
        raise ValueError(f"--out: {arguments.out} is a file; name a folder")
    ratings = _read(arguments)
    run = _run_sparse if isinstance(ratings, SparseRatings) else _run_dense
    try:
        return run(arguments, ratings)
    except ValueError as error:  # what looked odd may be why
        raise ValueError("\n".join([str(error), *map("note: {}".format, ratings.notes)])) from error


def _run_dense(arguments: argparse.Namespace, ratings: Ratings | OrdinalRatings) -> int:
    ordinal = isinstance(ratings, OrdinalRatings)
    given_pairs = ["judge:model"] if arguments.pairs is None else arguments.pairs
    pairs = [parsing.pair(text, ratings.names) for text in given_pairs]
    options = parsing.fit_options(arguments, ratings)
    groups = parsing.groups(arguments.group, ratings)
    members = _judge_groups(arguments, ratings)
    if arguments.seed < 0:
        raise ValueError(f"--seed: expected at least 0, found {arguments.seed}")
    if groups and arguments.bootstrap:
        raise ValueError("--bootstrap is of scores on the zero-sum scale: leave --group out")
    if arguments.out is not None:  # before the work, so that none is lost
        arguments.out.mkdir(parents=True, exist_ok=True)
    counts = (ratings.counts,) if ordinal else (ratings.successes, ratings.trials)
    if ordinal:
        options["model"] = arguments.ordinal or "rating_scale"
    with waiting(f"fitting {ratings.trials.sum():,} ratings"):
        found = jax.block_until_ready(_fit(counts, ratings.labels, options))
    if not found.converged:
        raise ValueError(reports.status(found, ratings))
    samples = left_out = None
    if arguments.bootstrap:
        with waiting("bootstrap") as progress:
            samples = bootstrap(
                *counts,
                replicates=arguments.bootstrap,
                seed=arguments.seed,
                progress=progress,
                **options,
            )
    if arguments.leave_one_out:
        with waiting("leaving judges out") as progress:
            left_out = leave_one_judge_out(
                found, *counts, labels=ratings.labels, progress=progress, **options
            )
    categories = ratings.categories if ordinal else None
    about = diagnose(found, *counts, anchors=options["anchors"], categories=categories)
    if groups:
        found = anchor_groups(found, *counts, groups=groups, anchors=options["anchors"])
    with waiting("tables"):
        report = reports.report(
            found,
            about,
            ratings,
            pairs=pairs,
            bootstrap=samples,
            sensitivity=left_out,
            judge_groups=members,
        )
    written = []
    if arguments.out is not None:  # before printing, which may be cut short
        written = files.write(report, arguments.out, _plain_options(arguments))
        drawn = {}
        if not arguments.no_plots:
            with waiting("figures"):
                drawn = files.draw(files.figures(report), arguments.out)
        written += drawn
        page = files.write_page(report, arguments.out, _title(arguments), list(drawn.values()))
        written.append(page)
    print("\n".join(map(printable, reports.summary(report))))
    _print(report.tables, {ratings.names.get(facet, facet) for facet in FACETS})
    if written:
        _print_written(arguments, written)
    return 0


def _run_sparse(arguments: argparse.Namespace, ratings: SparseRatings) -> int:
    unfit = {
        f"--method {arguments.method}": arguments.method not in (None, "ridge"),
        "--anchors": arguments.anchors is not None,
        "--group": bool(arguments.group),
        "--bootstrap": bool(arguments.bootstrap),
        "--leave-one-out": arguments.leave_one_out,
        "--center": arguments.center != "model",
        "--allow-disconnected": arguments.allow_disconnected,
    }
    for option in (name for name, given in unfit.items() if given):
        raise ValueError(
            f"{option} is not for --sparse, nor for more than four facets: a list is fitted by the "
            "ridge method, without arrays of all combinations, which this needs"
        )
    given_pairs = ["judge:model"] if arguments.pairs is None else arguments.pairs
    pairs = [parsing.pair(text, ratings.names, tuple(ratings.extra)) for text in given_pairs]
    members = _judge_groups(arguments, ratings)
    options = {"precision": parsing.precision(arguments.precision)}
    options["max_iterations"] = arguments.max_iterations
    options["model"] = arguments.ordinal
    levels = len(ratings.labels["judge"]) + len(ratings.labels["question"])
    with waiting(f"fitting {ratings.trials.sum():,} ratings"):
        errors = "levels" if levels <= MOST_SOLVES else "scores"
        found = fit_sparse(ratings, errors=errors, **options)
    if not found.converged:
        raise ValueError(found.message)
    with waiting("tables"):
        report = sparse_report(found, ratings, pairs=pairs, judge_groups=members)
    lines = sparse_summary(report)
    written = []
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        drawn = {}
        if not arguments.no_plots:
            from dignified_jax.mfrm.report.sparse_figures import sparse_figures

            with waiting("figures"):
                drawn = files.draw(sparse_figures(report), arguments.out)
        about = (arguments.out, _title(arguments), _plain_options(arguments))
        written = files.write_sparse(report, lines, *about, list(drawn.values()))
        written += drawn
    print("\n".join(map(printable, lines)))
    _print(report.tables, {ratings.names.get(name, name) for name in ratings.labels})
    if written:
        _print_written(arguments, written)
    return 0


def _judge_groups(
    arguments: argparse.Namespace, ratings: Ratings | OrdinalRatings | SparseRatings
) -> dict[str, list[int]]:
    """Groups of judges by number, as named and by their kind."""
    members = parsing.judge_groups(arguments.judge_group, ratings)
    if arguments.judge_type is None:
        return members
    path = embedded.resolve(arguments.ratings)
    judge = ratings.names.get("judge", arguments.judge)
    kinds = parsing.judge_types(path, judge, arguments.judge_type, ratings)
    for name in members.keys() & kinds.keys():
        raise ValueError(f"--judge-group: {name!r} is a kind of --judge-type too: rename the group")
    return members | kinds


def _print(tables: Sequence[Table], sorted_ones: set[str]) -> None:
    for table in tables:
        if table.name in sorted_ones:
            table = table.sorted_by("measure", descending=True)
        print(f"\n{table.text(PRINTED_ROWS)}")


def _print_written(arguments: argparse.Namespace, written: Sequence[pathlib.Path]) -> None:
    numbers = collections.Counter(path.suffix[1:].upper() for path in written)
    listed = " and ".join(f"{numbers[kind]} {kind}" for kind in ("CSV", "PNG") if numbers[kind])
    print(f"\n{printable(str(arguments.out))}: report.html, fit.json, {listed} files")


def _title(arguments: argparse.Namespace) -> str:
    return f"Calibration of {pathlib.PurePath(arguments.ratings).name}"


def _read(arguments: argparse.Namespace) -> Ratings | OrdinalRatings | SparseRatings:
    if arguments.ordinal is not None and arguments.categories is None:
        raise ValueError("--ordinal needs --categories LOWEST HIGHEST")
    columns = {facet: getattr(arguments, facet) for facet in FACETS}
    for facet in ("question", "judge", "rubric"):
        if columns[facet] == ABSENT:
            columns[facet] = None
    facets = None
    if arguments.facets is not None:
        facets = parsing.facets(arguments.facets, arguments.scored, arguments.random)
    elif arguments.scored is not None or arguments.random is not None:
        raise ValueError("--scored and --random are of --facets A,B,C")
    with warnings.catch_warnings():  # the summary tells them
        warnings.simplefilter("ignore")
        return from_long(
            embedded.resolve(arguments.ratings),
            **columns,
            score=arguments.score,
            trials=arguments.trials,
            threshold=arguments.threshold,
            categories=None if arguments.categories is None else tuple(arguments.categories),
            score_range=None if arguments.range is None else tuple(arguments.range),
            missing=arguments.missing,
            order=arguments.order,
            facets=facets,
            sparse=arguments.sparse,
        )


def _fit(
    counts: tuple[np.ndarray, ...],
    labels: dict[str, tuple[object, ...]],
    options: dict[str, FitOption],
) -> Fit:
    """The fit; subsets of a disconnected design are named by label."""
    try:
        return fit(*counts, **options)
    except DisconnectedError as error:
        listed = [f"  {line}" for line in error.named(labels)]
        raise ValueError(
            "the design is disconnected: no chain of ratings joins these subsets, so their "
            "difference would be set by the priors alone\n"
            + "\n".join(listed)
            + "\nAdd ratings or --anchors that join them, or pass --allow-disconnected with "
            "--method ridge."
            + f" {RANDOM_QUESTIONS}: leave --method ridge out."
            * error.of_questions()
        ) from error


def _plain_options(arguments: argparse.Namespace) -> dict[str, object]:
    plain = (str, int, float, bool, list, type(None))
    return {k: v if isinstance(v, plain) else str(v) for k, v in vars(arguments).items()}


if __name__ == "__main__":
    entry.run(main)
