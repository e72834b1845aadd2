"""The whole way: plans, scenarios, replies, checks, rows; or an audit of rows that are there."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Callable, Sequence

from dignified_jax.console.table import Table
from dignified_jax.construction import guide, output, sampling, seeds, spending, templates
from dignified_jax.construction.asking import Asker
from dignified_jax.construction.audit import audit
from dignified_jax.construction.config import ConstructionConfig
from dignified_jax.construction.duplicates import TextIndex
from dignified_jax.construction.health import DegradedError, Health, StopRule
from dignified_jax.construction.making.brief import Brief
from dignified_jax.construction.making.rows import Draft, RowMaker, refuse_surplus
from dignified_jax.data import read_rows
from dignified_jax.data.schema import PreferenceRow
from dignified_jax.data.schema.conversation import messages_of
from dignified_jax.data.sources import stream_records
from dignified_jax.embedded import resolve
from dignified_jax.endpoints import calls as endpoints
from dignified_jax.files import jsonl, lock
from dignified_jax.files.atomic import remove_leftovers

Notify = Callable[[str], None]


class ConstructionError(ValueError):
    """A construction is not complete; says what is missing, and where the rest lies."""


def run(config: ConstructionConfig, notify: Notify) -> pathlib.Path:
    """Makes what is not there yet, or audits it.

    Args:
      config: of the construction.
      notify: shows a line to a person.

    Returns:
      The file of rows, or of the audit's table.

    Raises:
      ConstructionError: a provider has degraded, calls have failed, or no row was accepted. What
        is done is kept, and the same command goes on.
      ValueError, OSError: what is wrong, by name.
      BusyError: another process works in the same directory.
    """
    directory = pathlib.Path(config.workdir)
    prompts = templates.read(config.prompts)
    guides = guide.read(config.dimensions or guide.PERSONA)
    prices = spending.parse_prices(config.calls.prices)
    directory.mkdir(parents=True, exist_ok=True)
    with lock.held(directory, notify):
        remove_leftovers(directory)
        asker = Asker(directory / "calls", config.calls.settings(), prices)
        if config.until == "audit":
            rows = config.audit.rows or str(directory / f"{output.ROWS}.jsonl")
            return audit.run(config.audit, rows, tuple(guides), prompts, asker, directory, notify)
        return _make(Brief(config, guides, prompts), asker, directory, notify)


def _make(brief: Brief, asker: Asker, directory: pathlib.Path, notify: Notify) -> pathlib.Path:
    config, dimensions = brief.config, tuple(brief.guides)
    anchors = seeds.read(config.anchors, dimensions)
    mix = sampling.parse_mix(config.mix, dimensions)
    known = _known(config.extend, dimensions)
    questions = TextIndex(config.verifier.similarity)
    replies = TextIndex(config.verifier.similarity)
    tests = [(f, row) for file in config.test for f, row in _rows(file, dimensions)]
    for place, row in [*((f"{config.extend}:{r.row}", r) for r, _ in known), *tests]:
        questions.add(place, messages_of(row.prompt)[-1].content)
        replies.add(place, row.golden)
    health = Health(StopRule(config.verifier.stop_window, config.verifier.stop_share))
    maker = RowMaker(brief, asker, health, questions, replies)
    stopped = ""
    plans = sampling.plans(mix, anchors, config.shots, config.seed)
    plans = itertools.islice(plans, config.rows)
    endpoints.check([*config.providers, config.verifier.model])
    notify(f"{config.rows} rows by {', '.join(config.providers)}; logs in {directory / 'calls'}")
    try:
        while block := list(itertools.islice(plans, config.rows_at_once)):
            maker.make(block)
    except DegradedError as error:
        stopped = str(error)
    drafts = refuse_surplus(brief, maker.drafts)
    records = [record for _, record in known] + _records(brief, drafts)
    tables = [*output.summary(drafts, dimensions), asker.table(), health.table()]
    return _write(directory, drafts, records, tables, stopped, notify)


def _rows(file: str, dimensions: Sequence[str]) -> list[tuple[str, PreferenceRow]]:
    """(place, row) of a file that new rows may not be like."""
    rows = read_rows(resolve(file), dimensions=dimensions)
    return [(f"{file}:{row.row}", row) for row in rows]


def _known(file: str, dimensions: tuple[str, ...]) -> list[tuple[PreferenceRow, output.Record]]:
    """Rows that are extended, with the records they are of."""
    if not file:
        return []
    rows = read_rows(resolve(file), dimensions=dimensions)  # refuses a file with any bad row
    records = stream_records(resolve(file))
    return [
        (row, output.known_record(row, record.columns))
        for row, record in zip(rows, records, strict=True)
    ]


def _records(brief: Brief, drafts: list[Draft]) -> list[output.Record]:
    """Records of the accepted drafts; one that the package's reader refuses is set aside."""
    dimensions, records = tuple(brief.guides), []
    for at, draft in enumerate(drafts):
        if draft.accepted:
            record = output.record(draft, dimensions, brief.config.verifier.model)
            wrong = output.problem(record, dimensions)
            if wrong:
                drafts[at] = draft.refuse(wrong)
            else:
                records.append(record)
    return records


def _write(
    directory: pathlib.Path,
    drafts: Sequence[Draft],
    records: Sequence[output.Record],
    tables: Sequence[Table],
    stopped: str,
    notify: Notify,
) -> pathlib.Path:
    """Writes all files, and says what is not done."""
    files = output.write_rows(directory, records) if records else []
    asides = [output.aside(draft) for draft in drafts if draft.reason]
    jsonl.write(directory / output.SET_ASIDE, asides)
    pending = [draft for draft in drafts if draft.pending]
    accepted = sum(draft.accepted for draft in drafts)
    notes = [f"{accepted} rows accepted, {len(asides)} set aside, {len(pending)} pending"]
    notes += [f"stopped: {stopped}"] if stopped else []
    text = output.write_report(directory, tables, notes)
    report = directory / f"{output.REPORT}.txt"
    if stopped:
        raise ConstructionError(f"stopped: {stopped}; {notes[0]}, {report} tells more")
    if pending:
        raise ConstructionError(
            f"{len(pending)} rows wait for calls that failed; the first: {pending[0].pending}. The "
            "same command makes these calls again"
        )
    if not accepted:
        raise ConstructionError(f"no row was accepted; {directory / output.SET_ASIDE} says why")
    notify(f"\n{text}\n")
    return files[0]
