"""The options of the command line."""

from __future__ import annotations

import argparse
import pathlib

from dignified_jax.mfrm.fit import METHODS
from dignified_jax.mfrm.result import FACETS
from dignified_jax.mfrm.solver.gauge import CENTERS
from dignified_jax.typed_config import path_argument

ABSENT = "-"


def _path(text: str) -> pathlib.Path:
    return pathlib.Path(path_argument(text))


def parser(description: str) -> argparse.ArgumentParser:
    """All options; `description` stands above them."""
    parser = argparse.ArgumentParser(
        prog="python -m dignified_jax.mfrm",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("ratings", type=path_argument, metavar="RATINGS", help="a file, or embedded:ratings.csv")
    add("--out", type=_path, metavar="DIR", help="write CSV, JSON, PNG and HTML files here")
    columns = parser.add_argument_group("columns of the file")
    for name in (*FACETS, "score"):
        absent = f"; {ABSENT} for none" if name in ("question", "judge", "rubric") else ""
        help_text = f"default {name}{absent}"
        columns.add_argument(f"--{name}", default=name, metavar="COLUMN", help=help_text)
    columns.add_argument(
        "--facets",
        metavar="A,B,C",
        help="columns of any number of facets, in place of the four above: what is scored, its "
        "occasions, judges, items and more (more than four are fitted as by --sparse)",
    )
    columns.add_argument("--scored", metavar="A", help="of --facets, the scored one; default first")
    columns.add_argument(
        "--random",
        metavar="B",
        help=f"of --facets, the occasions, which are random; default second, {ABSENT} for none",
    )
    columns.add_argument(
        "--trials", metavar="COLUMN", help="number of judgments of a row; score counts successes"
    )
    columns.add_argument(
        "--order", metavar="COLUMN", help="order or time of the ratings: a table of judges' drift"
    )
    columns.add_argument(
        "--judge-type",
        metavar="COLUMN",
        help="kind of judge, such as human or llm: judges of a kind are a --judge-group",
    )
    columns.add_argument(
        "--threshold", type=float, help="scores of at least this are successes (ordinal scores)"
    )
    columns.add_argument(
        "--missing",
        nargs="*",
        metavar="CODE",
        help="leave out rows whose score or label is blank, or one of these, such as -1 99 NA "
        "(of labels only codes that are no numbers)",
    )
    columns.add_argument(
        "--range",
        nargs=2,
        type=float,
        metavar=("LOWEST", "HIGHEST"),
        help="scores outside are refused; for use with --threshold",
    )
    columns.add_argument(
        "--categories",
        nargs=2,
        type=float,
        metavar=("LOWEST", "HIGHEST"),
        help="keep ordinal scores as they are, such as 1 5, or 0.5 5 with half points",
    )
    model = parser.add_argument_group("the model (see mfrm.fit)")
    model.add_argument(
        "--method", choices=METHODS, help="default: ridge with --precision, else quadrature"
    )
    model.add_argument(
        "--ordinal",
        choices=("rating_scale", "partial_credit"),
        help="steps between categories: common to all rubric items (default), or each item's own",
    )
    model.add_argument(
        "--sparse",
        action="store_true",
        help="fit a list of ratings, by the ridge method, as more than four facets always are: "
        "for tens of thousands of judges",
    )
    model.add_argument("--center", choices=CENTERS, default="model", help="default %(default)s")
    model.add_argument(
        "--precision", nargs="+", metavar="NAME=NUMBER", help="of the priors, such as judge=0.5"
    )
    model.add_argument(
        "--anchors", type=_path, metavar="FILE", help="table with columns facet, level, value"
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
    model.add_argument(
        "--max-iterations", type=int, default=100, metavar="N", help="steps of a fit; default 100"
    )
    model.add_argument("--float64", action="store_true", help="compute in double precision")
    more = parser.add_argument_group("what else to compute")
    more.add_argument(
        "--pairs",
        nargs="*",
        metavar="A:B",
        help="bias tables of these pairs of facets; default judge:model",
    )
    more.add_argument(
        "--bootstrap", type=int, default=0, metavar="N", help="samples of the questions"
    )
    more.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    more.add_argument("--leave-one-out", action="store_true", help="refit without each judge")
    more.add_argument(
        "--judge-group",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "JUDGE"),
        help="agreement within these judges, and a comparison of such groups: human ann bob",
    )
    more.add_argument("--no-plots", action="store_true", help="write no PNG files")
    return parser
