"""An audit: sample, external judge, people's forms, tables."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

from dignified_jax.construction.answers import Unusable, read_verdicts
from dignified_jax.construction.asking import Asker
from dignified_jax.construction.audit import forms, table
from dignified_jax.construction.audit.forms import Scores
from dignified_jax.construction.audit.sample import TYPES, Asked, AuditRow, draw
from dignified_jax.construction.config import AUDIT, AuditConfig
from dignified_jax.construction.making.checks import criteria_request
from dignified_jax.construction.output import write_report
from dignified_jax.construction.templates import Prompts
from dignified_jax.data import read_rows
from dignified_jax.embedded import resolve

DIRECTORY = "audit"
LLM, PEOPLE = "LLM", "human"


def run(
    config: AuditConfig,
    rows: str,
    dimensions: tuple[str, ...],
    prompts: Prompts,
    asker: Asker,
    workdir: pathlib.Path,
    notify: Callable[[str], None],
) -> pathlib.Path:
    """Audits a sample of rows.

    Args:
      config: of the audit.
      rows: file of them.
      dimensions: that they are about.
      prompts: with the criteria.
      asker: to ask the judge with.
      workdir: in whose "audit" everything is written.
      notify: shows a line to a person.

    Returns:
      The report; where nobody has answered yet, the form for people.

    Raises:
      ValueError, OSError: rows, forms or the judge can't be had.
    """
    sample = draw(read_rows(resolve(rows), dimensions=dimensions), config.sample, config.seed)
    directory = workdir / DIRECTORY
    directory.mkdir(exist_ok=True)
    statements = {n: text for kind in TYPES for n, text in prompts.criteria[kind].items()}
    form = forms.write(directory, sample, statements)
    auditors: dict[str, Scores] = {}
    notes = [f"{len(sample)} rows of {rows}"]
    if config.judge:
        auditors[LLM], unusable = judge(sample, config.judge, prompts, asker)
        notes.append(f"{LLM}: {config.judge}; {unusable} answers could not be used")
    if config.people:
        known = [asked for row in sample for asked in row.asked]
        auditors[PEOPLE] = forms.read(config.people, known)
        notes.append(f"{PEOPLE}: {len(auditors[PEOPLE])} of {len(known)} questions answered")
    if not auditors:
        notify(f"form for people: {form}; the texts are in {directory / forms.TEXTS}")
        return form
    tables = [*table.rates(sample, auditors), table.bounds(sample, auditors)]
    if len(auditors) == 2:
        tables.append(table.agreement(sample, *auditors.items()))
    tables.append(asker.table())
    notify(f"\n{write_report(directory, tables, notes)}\n")
    return directory / "report.txt"


def judge(
    sample: Sequence[AuditRow], model: str, prompts: Prompts, asker: Asker
) -> tuple[dict[Asked, int], int]:
    """Asks a model all questions, those about a part together.

    Returns:
      Its scores, and how many answers could not be used; what they are about has no score.
    """
    asked = [(row, part, kind) for row in sample for part, kind in row.parts.items()]
    requests, names = [], []
    for row, part, kind in asked:
        about = f"The active qualities: {', '.join(row.row.mask)}."
        if kind == "negative":
            about += f" The target quality: {part.partition(' ')[2]}."
        request, criteria = criteria_request(prompts, model, (kind,), row.texts(part), about)
        requests.append(request)
        names.append(tuple(criteria))
    scores: dict[Asked, int] = {}
    unusable = 0
    answers = asker.ask(AUDIT, requests)
    for (row, part, _), own, answer in zip(asked, names, answers, strict=True):
        try:
            found = read_verdicts("" if answer is None else answer.text, own)
        except Unusable:
            unusable += 1
            continue
        scores |= {Asked(row.id, part, name): score for name, score in found.items()}
    return scores, unusable
