"""Files that a construction leaves: rows with provenance, rows set aside, a report."""

from __future__ import annotations

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence

from dignified_jax.console.labels import printable_lines
from dignified_jax.console.table import Table
from dignified_jax.construction.making.rows import Draft
from dignified_jax.construction.seeds import seed_scene
from dignified_jax.data.formats import parquet_file, rejects
from dignified_jax.data.schema import PreferenceRow
from dignified_jax.data.schema.conversation import as_objects
from dignified_jax.data.sources import RawRecord
from dignified_jax.files import atomic, jsonl

ROWS, SET_ASIDE, REPORT = "rows", "set_aside.jsonl", "report"
PROVENANCE = "construction"
"""The column that says how a row was made; readers of rows leave it alone."""

Record = dict[str, object]


def record(draft: Draft, dimensions: Sequence[str], verifier: str) -> Record:
    """Returns an accepted row in the package's columns, and how it was made."""
    plan, scenario = draft.plan, draft.scenario.value
    negatives = {name: each.value for name, each in draft.negatives.items()}
    return {
        "mask": list(plan.mask),
        "seed_scene": seed_scene(plan.seeds),
        "context": scenario.context,
        "trigger": "\n".join(f"{name}: {text}" for name, text in scenario.triggers.items()),
        "prompt": scenario.question,
        "golden": draft.golden.value,
        **{f"reject_{name}": negatives.get(name, "") for name in dimensions},
        PROVENANCE: {
            "row": plan.id,
            "paradigm": plan.paradigm,
            "seeds": {d: [seed.source for seed in found] for d, found in plan.seeds.items()},
            "parts": {name: dataclasses.asdict(p.origin) for name, p in draft.parts.items()},
            "verifier": verifier,
            "failures": [dataclasses.asdict(failure) for failure in draft.failures],
        },
    }


def problem(found: Record, dimensions: tuple[str, ...]) -> str:
    """Returns why a record is no row for the package's own reader; "" if it is one."""
    _, problems = rejects.read(RawRecord("rows", 0, found, found), dimensions)
    return str(problems[0]) if problems else ""


def aside(draft: Draft) -> Record:
    """Returns a row that was set aside: its reason, and all that there is of it."""
    texts = {name: part.value for name, part in draft.parts.items()}
    if draft.scenario.value is not None:
        texts["scenario"] = dataclasses.asdict(draft.scenario.value)
    return {
        "row": draft.plan.id,
        "reason": draft.reason,
        "mask": list(draft.plan.mask),
        "paradigm": draft.plan.paradigm,
        "failures": [dataclasses.asdict(failure) for failure in draft.failures],
        "parts": texts,
    }


def write_rows(directory: pathlib.Path, records: Sequence[Record]) -> list[pathlib.Path]:
    """Writes rows as JSON lines and as Parquet, each whole or not at all."""
    files = [directory / f"{ROWS}.jsonl", directory / f"{ROWS}.parquet"]
    jsonl.write(files[0], list(records))
    parquet_file.write(files[1], records)
    return files


def known_record(row: PreferenceRow, columns: Mapping[str, object]) -> Record:
    """Returns a row that is extended as it stood, its texts as the reader has them."""
    rest = {name: value for name, value in columns.items() if value is not None}
    replies = {f"reject_{name}": row.rejects.get(name, "") for name in row.dimensions}
    prompt = as_objects(row.prompt)
    return {**rest, "mask": list(row.mask), "prompt": prompt, "golden": row.golden, **replies}


def summary(drafts: Sequence[Draft], dimensions: Sequence[str]) -> list[Table]:
    """Returns tables of what came of the rows, and of the accepted ones."""
    accepted = [draft for draft in drafts if draft.accepted]
    reasons = Counter(
        "accepted" if d.accepted else _short(d.reason) or f"pending: {d.pending}" for d in drafts
    )
    states = Table(
        "rows",
        "what came of the rows",
        {"state": list(reasons), "rows": list(reasons.values())},
    )
    shares: dict[str, int] = Counter(f"{len(draft.plan.mask)} active" for draft in accepted)
    shares |= {name: sum(name in draft.plan.mask for draft in accepted) for name in dimensions}
    shares |= Counter(draft.plan.paradigm for draft in accepted)
    made = Table(
        "accepted",
        "the accepted rows",
        {
            "part": list(shares),
            "rows": list(shares.values()),
            "percent": [100 * n / max(len(accepted), 1) for n in shares.values()],
        },
    )
    return [states, made]


def _short(reason: str) -> str:
    """A reason without the row's number, so that equal ones count together."""
    part, _, rest = reason.partition(": ")
    return f"set aside: {part.partition(' of row ')[0]}: {rest}" if rest else ""


def write_report(directory: pathlib.Path, tables: Sequence[Table], notes: Sequence[str]) -> str:
    """Writes tables as text and as JSON; returns the text."""
    text = "\n\n".join([*notes, *(table.text() for table in tables if table.rows)])
    text = printable_lines(text)
    atomic.write_text(directory / f"{REPORT}.txt", f"{text}\n")
    content = {"notes": list(notes), "tables": [table.json() for table in tables]}
    atomic.write_json(directory / f"{REPORT}.json", content)
    return text
