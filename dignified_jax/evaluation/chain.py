"""The whole way: models and prompts, responses, judgments, scores, report."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable, Sequence

from dignified_jax.console.table import Table, read_json
from dignified_jax.evaluation import rubrics
from dignified_jax.evaluation.config import EvaluationConfig
from dignified_jax.evaluation.entries import named
from dignified_jax.evaluation.judging import judgments
from dignified_jax.evaluation.stages import generate, judge, ood, report, utility
from dignified_jax.files import lock
from dignified_jax.files.atomic import remove_leftovers
from dignified_jax.typed_config import ConfigError


def run(config: EvaluationConfig, notify: Callable[[str], None]) -> pathlib.Path | None:
    """Runs what is not done, up to the configuration's last stage.

    Args:
      config: of the evaluation.
      notify: shows a line to a person.

    Returns:
      The report; None where it is not wanted yet.

    Raises:
      ValueError, OSError: what is wrong, by name.
      BusyError: another process works in the same directory.
    """
    directory = pathlib.Path(config.workdir)
    _check_files(config)
    rubric = rubrics.read(config.rubric or rubrics.PERSONA)
    further = [read_json(file) for file in config.tables]
    asked = ood.read(config)
    utility.check(config)
    if config.until != "generate" and not config.ratings:
        judge.check(config, rubric)
    directory.mkdir(parents=True, exist_ok=True)
    with lock.held(directory, notify):
        remove_leftovers(directory)
        if config.ratings:
            return _report_ratings(config, rubric, further, notify)
        responses, origins = generate.respond(config, notify)
        if config.until == "generate":
            return None
        verdicts, halo = judge.judge(config, rubric, responses, notify)
        table, missing = judgments.tabulate(responses, rubric, verdicts)
        source = report.save_judgments(config, table, missing)
        if not table.num_rows:
            raise ValueError(_nothing_judged(directory, missing))
        if config.until == "judge":
            notify(f"judgments: {source}")
            return None
        further = [*ood.test(config, asked, notify), *further]
        if config.until == "ood":
            return None
        further = [*utility.test(config, notify), *further]
        if config.until == "utility":
            return None
        scores, made = report.score(config, source, rubric)
        inputs = {
            **{f"model {name}": origin for name, origin in origins.items()},
            **{f"judge {one.name}": one.hash for one in verdicts},
            **{"rubric": rubric.hash, "configuration": config.hash, "judgments": _hash(source)},
            **{f"ood {file}": _hash(pathlib.Path(file)) for file in _files(config)},
        }
        return report.write(
            config,
            scores,
            [*made, *halo, *further],
            inputs=inputs,
            judges=list(verdicts),
            missing=missing,
            responses=responses,
            table=table,
            notify=notify,
        )


def _report_ratings(
    config: EvaluationConfig,
    rubric: rubrics.Rubric,
    further: list[Table],
    notify: Callable[[str], None],
) -> pathlib.Path:
    """The report of a table that others made."""
    source = pathlib.Path(config.ratings)
    scores, made = report.score(config, source, rubric)
    inputs = {f"ratings {source.name}": _hash(source), "configuration": config.hash}
    return report.write(config, scores, [*made, *further], inputs=inputs, notify=notify)


def _nothing_judged(directory: pathlib.Path, missing: Sequence[judgments.Missing]) -> str:
    """Says why there is nothing to score."""
    lines = [f"no judge gave a usable answer; all are listed in {directory / 'missing.csv'}"]
    for name, reasons in judgments.count_reasons(missing).items():
        reason, count = next(iter(reasons.items()))
        lines.append(f"judge {name}: {count} items: {reason}")
    return "; ".join(lines)


def _check_files(config: EvaluationConfig) -> None:
    """Refuses fields that name a file where there is none."""
    paths = [named(entry, "models")[1] for entry in config.models]
    fields = {
        **{"rubric": [config.rubric], "tables": config.tables, "ratings": [config.ratings]},
        **{"ood.sycophancy": config.ood.sycophancy, "ood.xstest": [config.ood.xstest]},
        "models": [path for path in paths if path.endswith(generate.GIVEN)],
    }
    for field, files in fields.items():
        for file in filter(None, files):
            if not pathlib.Path(file).is_file():
                raise ConfigError(f"{field}: expected a file, found none at {file}", field)


def _files(config: EvaluationConfig) -> list[str]:
    """The files that models are tested on out of distribution."""
    return [*config.ood.sycophancy, *filter(None, [config.ood.xstest])]


def _hash(file: pathlib.Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
