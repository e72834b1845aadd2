"""Options of the command line that need more than argparse; errors name the option or file."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from dignified_jax.mfrm.input.anchors import ANCHORABLE
from dignified_jax.mfrm.input.files import read_file
from dignified_jax.mfrm.input.levels import as_label
from dignified_jax.mfrm.input.long_table import OrdinalRatings, Ratings
from dignified_jax.mfrm.input.scores import is_missing, shown
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.report.arguments import ABSENT
from dignified_jax.mfrm.report.facet_names import role
from dignified_jax.mfrm.result import FACETS, Precision

# Values of the keywords of `mfrm.fit`.
FitOption = str | bool | int | Precision | dict[str, np.ndarray] | None


def fit_options(
    arguments: argparse.Namespace, ratings: Ratings | OrdinalRatings
) -> dict[str, FitOption]:
    """Keywords of `mfrm.fit`, the anchors file read."""
    anchors = None
    if arguments.anchors is not None:
        anchors = _read_anchors(arguments.anchors, ratings)
    return {
        "method": arguments.method,
        "center": arguments.center,
        "precision": precision(arguments.precision),
        "anchors": anchors,
        "allow_disconnected": arguments.allow_disconnected,
        "max_iterations": arguments.max_iterations,
    }


def precision(options: Sequence[str] | None) -> Precision | None:
    """Precisions from NAME=NUMBER ...; None where there are none."""
    if not options:
        return None
    names = Precision.__dataclass_fields__
    values = {}
    for text in options:
        name, _, value = text.partition("=")
        if name not in names:
            raise ValueError(f"--precision: expected {'|'.join(names)}=NUMBER, found {text!r}")
        if name in values:
            raise ValueError(f"--precision: {name} is given twice")
        values[name] = _number(f"--precision {name}", value)
    return Precision(**values)


def _read_anchors(path: pathlib.Path, ratings: Ratings | OrdinalRatings) -> dict[str, np.ndarray]:
    """Facet -> values by level, from a CSV file with columns facet, level, value."""
    anchors: dict[str, np.ndarray] = {}
    columns = read_file(path, ("facet", "level", "value"))
    for number, (name, label, value) in enumerate(zip(*columns.values(), strict=True), start=1):
        facet = role(str(name), ratings.names)
        where = f"{path}, row {number}"
        level = _level(where, facet, str(label), ratings)
        values = anchors.setdefault(facet, np.full(len(ratings.labels[facet]), np.nan))
        if not np.isnan(values[level]):
            raise ValueError(
                f"{where}: {facet} {shown(label)} is anchored in an earlier row already"
            )
        values[level] = _number(where, str(value))
        if not np.isfinite(values[level]):
            raise ValueError(f"{where}: expected a finite number, found {shown(value)}")
    if not anchors:
        raise ValueError(f"{path}: no anchors")
    return anchors


def groups(
    options: Sequence[Sequence[str]], ratings: Ratings | OrdinalRatings
) -> dict[str, tuple[list[int], float]]:
    """Facet -> (levels, mean), from FACET MEAN LEVEL ... of each --group."""
    found: dict[str, tuple[list[int], float]] = {}
    for name, *rest in options:
        facet = role(name, ratings.names)
        if len(rest) < 2:
            raise ValueError("--group: expected FACET MEAN LEVEL [LEVEL ...]")
        if facet in found:
            raise ValueError(f"--group: {facet} has a group already; one fixes its scale")
        levels = [_level("--group", facet, label, ratings) for label in rest[1:]]
        found[facet] = (levels, _number("--group", rest[0]))
    return found


def judge_groups(
    options: Sequence[Sequence[str]], ratings: Ratings | OrdinalRatings | SparseRatings
) -> dict[str, list[int]]:
    """Name -> judges by number, from NAME JUDGE ... of each --judge-group."""
    found = {}
    for name, *judges in options:
        if len(set(judges)) < 2:
            raise ValueError("--judge-group: expected NAME JUDGE JUDGE [JUDGE ...]")
        if name in found:
            raise ValueError(
                f"--judge-group: {shown(name)} is given twice; name all its judges once"
            )
        found[name] = [_level("--judge-group", "judge", judge, ratings) for judge in judges]
    return found


def facets(text: str, scored: str | None, random: str | None) -> list[str]:
    """Columns in the order of their parts, from A,B,C and which are scored and random."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for option, name, place in (("--scored", scored, 0), ("--random", random, 1)):
        if name is None or (name == ABSENT and option == "--random"):
            continue
        if name not in names:
            raise ValueError(f"{option}: expected one of {', '.join(names)}, found {name!r}")
        names.remove(name)
        names.insert(place, name)
    if random == ABSENT:
        names.insert(1, ABSENT)
    return names


def judge_types(
    path: str, judge: str, column: str, ratings: Ratings | OrdinalRatings | SparseRatings
) -> dict[str, list[int]]:
    """Kind -> judges by number, from the column of a file that says each judge's kind."""
    if judge == ABSENT:
        raise ValueError("--judge-type needs a column of judges")
    columns = read_file(pathlib.Path(path), (judge, column))
    kinds: dict[str, str] = {}
    known = set(map(str, ratings.labels["judge"]))
    for label, kind in zip(columns[judge], columns[column], strict=True):
        label = str(as_label(label))  # as the ratings have it
        kind = "" if is_missing(kind) else str(as_label(kind))
        if label in known and kinds.setdefault(label, kind) != kind:
            raise ValueError(
                f"--judge-type {column}: judge {shown(label)} is {shown(kinds[label])} in one row "
                f"and {shown(kind)} in another"
            )
    found: dict[str, list[int]] = {}
    for number, label in enumerate(ratings.labels["judge"]):
        kind = kinds.get(str(label), "").strip()
        found.setdefault(kind or "(no kind)", []).append(number)
    return found


def _level(
    where: str,
    facet: str | None,
    label: str | None,
    ratings: Ratings | OrdinalRatings | SparseRatings,
) -> int:
    if facet not in ANCHORABLE:
        raise ValueError(f"{where}: facet must be {', '.join(ANCHORABLE)}, found {shown(facet)}")
    labels = list(map(str, ratings.labels[facet]))
    if label not in labels:
        known = ", ".join(name[:60] for name in labels[:8]) + (", ..." if len(labels) > 8 else "")
        raise ValueError(f"{where}: no {facet} {shown(label)} among {known}")
    return labels.index(label)


def pair(text: str, names: Mapping[str, str], further: tuple[str, ...] = ()) -> tuple[str, str]:
    """Two facets from A:B, in their own or the user's names, or names of `further` ones."""
    one, other = (role(name, names) for name in text.partition(":")[::2])
    if one == other or not {one, other} <= {*FACETS, *further}:
        known = ", ".join((*(names.values() or FACETS), *further))
        raise ValueError(f"--pairs: expected two of {known} as A:B, found {text!r}")
    return one, other


def _number(where: str, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError as error:
        raise ValueError(f"{where}: expected a number, found {shown(text)}") from error
