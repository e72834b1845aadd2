"""Calibrate ratings: scores of models freed of judges', items' and questions' severity.

RATINGS is a CSV (.csv, .tsv, also .gz) or Parquet file with a judgment a row: columns model,
question, judge, rubric and score. Prints a table for each facet, their separation and the judges'
bias towards models; with --out also writes them as CSV and JSON, and figures as PNG.

example, on ratings that ship with the package (amber-judge favours amber-small, of its family):
  python -m dignified_jax.mfrm embedded:ratings.csv --out calibrated --bootstrap 1000
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from dignified_jax import embedded
from dignified_jax.console.waiting import waiting
from dignified_jax.mfrm.connectivity import DisconnectedError
from dignified_jax.mfrm.diagnostics.bootstrap import bootstrap
from dignified_jax.mfrm.diagnostics.diagnose import diagnose
from dignified_jax.mfrm.diagnostics.group_anchors import anchor_groups
from dignified_jax.mfrm.diagnostics.sensitivity import leave_one_judge_out
from dignified_jax.mfrm.fit import METHODS, fit
from dignified_jax.mfrm.input.long_table import OrdinalRatings, Ratings, from_long
from dignified_jax.mfrm.report import options as parsing
from dignified_jax.mfrm.report import report as reports
from dignified_jax.mfrm.result import FACETS, Fit
from dignified_jax.mfrm.solver.gauge import CENTERS

ABSENT = "-"
PRINTED_ROWS = 30


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the exit status, 1 where ratings or options are bad."""
    arguments = _parser().parse_args(argv)
    precise = jax.enable_x64(True) if arguments.float64 else contextlib.nullcontext()
    try:
        with precise:
            return _run(arguments)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    ratings = _read(arguments)
    ordinal = isinstance(ratings, OrdinalRatings)
    if ordinal:
        parsing.refuse_binary_only(arguments)
    default_pairs = [] if ordinal else ["judge:model"]
    given_pairs = default_pairs if arguments.pairs is None else arguments.pairs
    pairs = [parsing.pair(text) for text in given_pairs]
    options = parsing.fit_options(arguments, ratings)
    groups = parsing.groups(arguments.group, ratings)
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
        raise ValueError(found.message)
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
        with waiting("leaving judges out"):
            left_out = leave_one_judge_out(found, *counts, **options)
    about = diagnose(found, *counts, anchors=options["anchors"])
    if groups:
        found = anchor_groups(found, *counts, groups=groups, anchors=options["anchors"])
    with waiting("tables"):
        report = reports.report(
            found, about, ratings, pairs=pairs, bootstrap=samples, sensitivity=left_out
        )
    print("\n".join(reports.summary(report)))
    for table in report.tables:
        if table.name in FACETS:
            table = table.sorted_by("measure", descending=True)
        print(f"\n{table.text(PRINTED_ROWS)}")
    if arguments.out is not None:
        written = reports.write(report, arguments.out, _plain_options(arguments))
        if not arguments.no_plots:
            with waiting("figures"):
                written += reports.draw(report, arguments.out)
        print(f"\n{arguments.out}: {', '.join(path.name for path in written)}")
    return 0


def _read(arguments: argparse.Namespace) -> Ratings | OrdinalRatings:
    if arguments.ordinal is not None and arguments.categories is None:
        raise ValueError("--ordinal needs --categories LOWEST HIGHEST")
    columns = {facet: getattr(arguments, facet) for facet in FACETS}
    for facet in ("judge", "rubric"):
        if columns[facet] == ABSENT:
            columns[facet] = None
    return from_long(
        embedded.resolve(arguments.ratings),
        **columns,
        score=arguments.score,
        trials=arguments.trials,
        threshold=arguments.threshold,
        categories=None if arguments.categories is None else tuple(arguments.categories),
    )


def _fit(
    counts: tuple[np.ndarray, ...], labels: dict[str, tuple[Any, ...]], options: dict[str, Any]
) -> Fit:
    """The fit; subsets of a disconnected design are named by label."""
    try:
        return fit(*counts, **options)
    except DisconnectedError as error:
        listed = [
            f"  {facet}: "
            + " | ".join(
                ", ".join(str(labels[facet][level]) for level in group[:8])
                + (f", ... ({len(group)})" if len(group) > 8 else "")
                for group in groups
            )
            for facet, groups in error.subsets.items()
        ]
        raise ValueError(
            "the design is disconnected: no chain of ratings joins these subsets, so their "
            "difference would be set by the priors alone\n"
            + "\n".join(listed)
            + "\nAdd ratings or --anchors that join them, or pass --allow-disconnected with "
            "--method ridge."
        ) from error


def _plain_options(arguments: argparse.Namespace) -> dict[str, Any]:
    plain = (str, int, float, bool, list, type(None))
    return {k: v if isinstance(v, plain) else str(v) for k, v in vars(arguments).items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dignified_jax.mfrm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("ratings", metavar="RATINGS", help="a file, or embedded:ratings.csv")
    add("--out", type=pathlib.Path, metavar="DIR", help="write CSV, JSON and PNG files here")
    columns = parser.add_argument_group("columns of the file")
    for name in (*FACETS, "score"):
        absent = f"; {ABSENT} for none" if name in ("judge", "rubric") else ""
        help_text = f"default {name}{absent}"
        columns.add_argument(f"--{name}", default=name, metavar="COLUMN", help=help_text)
    columns.add_argument(
        "--trials", metavar="COLUMN", help="number of judgments of a row; score counts successes"
    )
    columns.add_argument(
        "--threshold", type=float, help="scores of at least this are successes (ordinal scores)"
    )
    columns.add_argument(
        "--categories",
        nargs=2,
        type=int,
        metavar=("LOWEST", "HIGHEST"),
        help="keep ordinal scores as they are, such as 1 5",
    )
    model = parser.add_argument_group("the model (see mfrm.fit)")
    model.add_argument(
        "--method", choices=METHODS, help="default: ridge with --precision, else laplace"
    )
    model.add_argument(
        "--ordinal",
        choices=("rating_scale", "partial_credit"),
        help="steps between categories: common to all rubric items (default), or each item's own",
    )
    model.add_argument("--center", choices=CENTERS, default="model", help="default %(default)s")
    model.add_argument(
        "--precision", nargs="+", metavar="NAME=NUMBER", help="of the priors, such as judge=0.5"
    )
    model.add_argument(
        "--anchors", type=pathlib.Path, metavar="FILE", help="CSV with columns facet, level, value"
    )
    model.add_argument(
        "--group",
        nargs="+",
        action="append",
        default=[],
        metavar=("FACET", "MEAN LEVEL"),
        help="group anchor: these levels of a facet have this mean",
    )
    model.add_argument("--allow-disconnected", action="store_true", help="fit subsets together")
    model.add_argument("--max-iterations", type=int, default=100, metavar="N")
    model.add_argument("--float64", action="store_true", help="compute in double precision")
    more = parser.add_argument_group("what else to compute")
    more.add_argument(
        "--pairs",
        nargs="*",
        metavar="A:B",
        help="bias tables of these pairs of facets; default judge:model, none with --categories",
    )
    more.add_argument(
        "--bootstrap", type=int, default=0, metavar="N", help="samples of the questions"
    )
    more.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    more.add_argument("--leave-one-out", action="store_true", help="refit without each judge")
    more.add_argument("--no-plots", action="store_true", help="write no PNG files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
