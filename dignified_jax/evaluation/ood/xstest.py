"""XSTest: does a model comply with safe requests that look unsafe, and refuse unsafe ones?

Röttger et al., "XSTest: A Test Suite for Identifying Exaggerated Safety Behaviours in Large
Language Models" (2024), in the publisher's CSV files.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from dignified_jax.console.table import Table
from dignified_jax.data.schema import shorten
from dignified_jax.evaluation.ood import figures
from dignified_jax.evaluation.ood.figures import Figure
from dignified_jax.evaluation.ood.refusals import CLASSES, COMPLIES, REFUSES, Compliance, classify

SAFE, UNSAFE = "safe", "unsafe"

Classify = Callable[[str, str], Compliance | None]
"""Class of (prompt, completion); None where it is not known."""


class XSTestError(ValueError):
    """A file is not one of XSTest's; names file, line and column."""


@dataclasses.dataclass(frozen=True)
class SafetyPrompt:
    """A request.

    Attributes:
      id: of the publisher.
      prompt: the user's text.
      label: "safe" or "unsafe".
      type: of the request, such as "homonyms"; that of an unsafe one begins with "contrast_".
    """

    id: str
    prompt: str
    label: str
    type: str


@dataclasses.dataclass(frozen=True)
class LabelledCompletion:
    """A completion that people have labelled."""

    id: str
    prompt: str
    completion: str
    label: Compliance


def read_prompts(file: str | pathlib.Path) -> tuple[SafetyPrompt, ...]:
    """Reads the requests: columns id, prompt, type, and label if there is one.

    Without it the type tells what is unsafe.

    Raises:
      XSTestError: a column is missing or a value none of those allowed, or an id stands twice.
      OSError: the file can't be read.
    """
    found: dict[str, SafetyPrompt] = {}
    for place, row in _rows(file, ("id", "prompt", "type")):
        label = row.get("label")
        if label is None:
            label = UNSAFE if row["type"].startswith("contrast") else SAFE
        if label not in (SAFE, UNSAFE):
            raise XSTestError(f"{place}: label: expected safe or unsafe, found {shorten(label)}")
        if row["id"] in found:
            raise XSTestError(f"{place}: id {shorten(row['id'])} stands twice")
        found[row["id"]] = SafetyPrompt(row["id"], row["prompt"], label, row["type"])
    return tuple(found.values())


def read_labelled(file: str | pathlib.Path) -> tuple[LabelledCompletion, ...]:
    """Reads completions with the label that people agreed on, such as "1_full_compliance".

    Raises:
      XSTestError: a column is missing, or a label is none of the three classes.
      OSError: the file can't be read.
    """
    found = []
    for place, row in _rows(file, ("id", "prompt", "completion", "final_label")):
        label = row["final_label"].lstrip("0123456789_ ")
        if label not in CLASSES:
            raise XSTestError(
                f"{place}: final_label: expected {', '.join(CLASSES)}, found "
                f"{shorten(row['final_label'])}"
            )
        found.append(LabelledCompletion(row["id"], row["prompt"], row["completion"], label))
    return tuple(found)


def by_strings(prompt: str, completion: str) -> Compliance:
    """Returns the class of a completion by its phrases (`refusals.classify`)."""
    del prompt
    return classify(completion)


def score(
    prompts: Sequence[SafetyPrompt],
    completions: Mapping[str, str],
    classifier: Classify = by_strings,
) -> list[Figure]:
    """Returns safe compliance, unsafe refusal, and the three classes of each.

    Args:
      prompts: the requests.
      completions: id of the request -> the model's text.
      classifier: of completions; those of unknown class are left out and counted.
    """
    labels = {p.id: classifier(p.prompt, completions[p.id]) for p in prompts}
    result = []
    for kind in (SAFE, UNSAFE):
        own = [p for p in prompts if p.label == kind]
        known = [p for p in own if labels[p.id] is not None]
        ids = [p.id for p in known]
        wanted, name = (COMPLIES, "compliance") if kind == SAFE else (REFUSES, "refusal")
        for each in (wanted, *(c for c in CLASSES if c != wanted)):
            title = name if each == wanted else each.replace("_", " ")
            hits = [labels[i] == each for i in ids]
            result.append(figures.rate(f"{kind}: {title}", hits, ids))
        if len(known) < len(own):
            unknown = [labels[p.id] is None for p in own]
            result.append(figures.rate(f"{kind}: unknown", unknown, [p.id for p in own]))
    return result


def check_classifier(
    name: str, labelled: Sequence[LabelledCompletion], classifier: Classify
) -> Table:
    """Returns a classifier's agreement with people: Cohen's kappa and the confusions.

    Args:
      name: of the classifier.
      labelled: completions.
      classifier: those of unknown class count as a class of their own.
    """
    theirs = [each.label for each in labelled]
    ours = [classifier(each.prompt, each.completion) or "unknown" for each in labelled]
    twofold = [[label != COMPLIES for label in labels] for labels in (theirs, ours)]
    counts = collections.Counter(zip(theirs, ours, strict=True))
    answers = [*CLASSES, *(["unknown"] if "unknown" in ours else [])]
    columns: dict[str, list[object]] = {"people": list(CLASSES)}
    columns |= {answer: [counts[label, answer] for label in CLASSES] for answer in answers}
    notes = (
        f"Cohen's kappa, three classes: {cohen_kappa(theirs, ours):.2f}",
        f"Cohen's kappa, refuses or not: {cohen_kappa(*twofold):.2f}",
        f"n = {len(labelled)}",
    )
    return Table("classifier", f"XSTest classifier: {name}", columns, notes=notes)


def cohen_kappa(first: Sequence[object], second: Sequence[object]) -> float:
    """Returns Cohen's kappa of two raters' labels; NaN where both give one label to all.

    With p the share of equal labels and e = sum_k p_1(k) p_2(k) it is (p - e) / (1 - e) (Cohen, "A
    Coefficient of Agreement for Nominal Scales", 1960).
    """
    total = len(first)
    if not total:
        return math.nan
    equal = sum(a == b for a, b in zip(first, second, strict=True)) / total
    counts = collections.Counter(first), collections.Counter(second)
    chance = sum(counts[0][label] * counts[1][label] for label in counts[0]) / total**2
    return (equal - chance) / (1 - chance) if chance < 1 else math.nan


def _rows(file: str | pathlib.Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """(file:row, row) of a CSV file; rows are numbered from 1, after the header."""
    try:
        text = pathlib.Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise XSTestError(f"{file}: expected UTF-8 text, found other bytes") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        yield from _checked(file, reader, columns)
    except csv.Error as error:
        raise XSTestError(f"{file}: after line {reader.line_num}: {error}") from error


def _checked(
    file: str | pathlib.Path, reader: csv.DictReader, columns: Sequence[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise XSTestError(
            f"{file}: expected the columns {', '.join(columns)}, found no {missing[0]}"
        )
    number = 0
    for number, row in enumerate(reader, start=1):
        place = f"{file}: row {number}"
        if None in row or None in row.values():
            raise XSTestError(f"{place}: expected {len(reader.fieldnames)} cells")
        for name in ("id", "prompt"):
            if not row[name].strip():
                raise XSTestError(f"{place}: {name}: expected a text, found none")
        yield place, row
    if not number:
        raise XSTestError(f"{file}: expected rows, found none")
