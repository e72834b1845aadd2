"""Scores and report of a table of judgments, or of anyone's ratings."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from dignified_jax import typed_config
from dignified_jax.console.table import Table
from dignified_jax.console.waiting import waiting
from dignified_jax.evaluation.config import EvaluationConfig
from dignified_jax.evaluation.judging import judgments
from dignified_jax.evaluation.judging.judgments import Judge, Missing
from dignified_jax.evaluation.report import contents, html_page, markdown, responses_page
from dignified_jax.evaluation.responses import Response
from dignified_jax.evaluation.rubrics import Rubric
from dignified_jax.evaluation.scores import calibration, results, tables
from dignified_jax.evaluation.scores.ratings import read_ratings
from dignified_jax.evaluation.scores.results import Scores
from dignified_jax.files import atomic

TITLE = "Evaluation"
SUMMARY = ("dimensions", "changes")
"""Tables to print when all is done."""


def score(
    config: EvaluationConfig, source: pathlib.Path, rubric: Rubric | None
) -> tuple[Scores, list[Table]]:
    """Scores a table and writes WORKDIR/scores: a CSV file of each table, all in scores.json.

    Raises:
      ValueError: names the file, dimension or model.
    """
    rated = read_ratings(source, rubric)
    with waiting("scoring", share=True) as count:
        fits = calibration.calibrate(
            rated.ratings,
            rated.dimension_of,
            method=config.scoring.method,
            center=config.scoring.center,
            replicates=config.scoring.replicates,
            seed=config.scoring.seed,
            progress=count,
        )
        found = results.score(fits, rated.groups)
        made = tables.all_tables(found, baseline(config, found))
    directory = pathlib.Path(config.workdir) / "scores"
    directory.mkdir(parents=True, exist_ok=True)
    for table in made.values():
        atomic.write_text(directory / f"{table.name}.csv", table.csv(), "backslashreplace")
    whole = {"tables": [table.json() for table in made.values()], "notes": list(fits.notes)}
    atomic.write_text(directory / "scores.json", json.dumps(whole, indent=1) + "\n")
    summary = "\n\n".join(made[name].text() for name in SUMMARY if name in made)
    atomic.write_text(directory / "summary.txt", summary + "\n", "backslashreplace")
    return found, list(made.values())


def baseline(config: EvaluationConfig, scores: Scores) -> str:
    """The model that changes are from: as configured, else the first of the configuration's."""
    names = [entry.partition("=")[0].strip() for entry in config.models]
    wanted = config.scoring.baseline or next((n for n in names if n in scores.models), "")
    return wanted or scores.models[0]


def write(
    config: EvaluationConfig,
    scores: Scores,
    made: Sequence[Table],
    *,
    inputs: Mapping[str, str],
    judges: Sequence[Judge] = (),
    missing: Sequence[Missing] = (),
    responses: Sequence[Response] = (),
    table: pa.Table | None = None,
    notify: Callable[[str], None],
) -> pathlib.Path:
    """Writes WORKDIR/report: index.html, report.md, and responses.html where there are responses.

    Without Plotly there is no HTML page, and it is said.

    Returns:
      The page, or the Markdown without it.
    """
    own, counted = list(made), {}
    if judges and table is not None:
        counts = table.group_by("judge").aggregate([("score", "count")]).to_pylist()
        counted = {row["judge"]: row["score_count"] for row in counts}
        own.append(contents.judge_table(judges, counted))
    if missing:
        own.append(contents.missing_table(missing))
    own.sort(key=lambda each: _order(each.name))
    shown = contents.Contents(
        title=TITLE,
        warnings=contents.judge_warnings(judges, counted),
        notes=scores.calibrations.notes,
        scores=scores,
        tables=own,
        configuration=typed_config.as_dict(config),
        inputs=inputs,
    )
    directory = pathlib.Path(config.workdir) / "report"
    directory.mkdir(parents=True, exist_ok=True)
    text = directory / "report.md"
    atomic.write_text(text, markdown.page(shown), "backslashreplace")
    link = None
    if responses and table is not None:
        link = "responses.html"
        page = responses_page.page("Responses and judgments", shown.warnings, responses, table)
        atomic.write_text(directory / link, page, "backslashreplace")
    try:
        page = html_page.page(shown, baseline(config, scores), link)
    except html_page.ReportError as error:
        notify(str(error))
        return text
    atomic.write_text(directory / "index.html", page, "backslashreplace")
    return directory / "index.html"


def save_judgments(
    config: EvaluationConfig, table: pa.Table, missing: Sequence[Missing]
) -> pathlib.Path:
    """Writes WORKDIR/judgments.parquet, and missing.csv beside it."""
    directory = pathlib.Path(config.workdir)
    judgments.write(directory / "judgments.parquet", table)
    names = ("model", "question", "judge", "rubric", "reason")
    listed = Table(
        name="missing",
        title="items without a score",
        columns={name: [getattr(one, name) for one in missing] for name in names},
    )
    atomic.write_text(directory / "missing.csv", listed.csv(), "backslashreplace")
    return directory / "judgments.parquet"


def _order(name: str) -> int:
    """Place of a table: scores, then changes, then what is behind them."""
    first = ("dimensions", "groups", "changes", "unavailable", "judges", "missing", "friedman")
    return first.index(name) if name in first else len(first)
