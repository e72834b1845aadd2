"""Utility: general benchmarks of every model whose weights are here."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Callable

from dignified_jax.console.table import Table, read_json, stack
from dignified_jax.evaluation import models
from dignified_jax.evaluation.config import EvaluationConfig
from dignified_jax.evaluation.entries import file_name, named
from dignified_jax.evaluation.stages.generate import GIVEN, SERVED
from dignified_jax.evaluation.utility import benchmarks
from dignified_jax.files import atomic
from dignified_jax.files.json_digest import digest

DIRECTORY = "utility"
_DATA = re.compile(r"[^\s\"':,{}\[\]]+\.(?:jsonl?|csv|tsv|parquet|arrow|txt)\b")


def check(config: EvaluationConfig) -> None:
    """Looks for what the benchmarks need, before anything is computed.

    Raises:
      BenchmarkError: lm_eval, a task or the directory of tasks is missing.
    """
    if config.utility.tasks:
        benchmarks.check(config.utility.tasks, config.utility.include or None)


def test(config: EvaluationConfig, notify: Callable[[str], None]) -> list[Table]:
    """Runs each task on each model, unless it has been, and writes WORKDIR/utility.

    Returns:
      One table, all models and tasks in it; none if there are no tasks.

    Raises:
      ValueError, OSError: names the model or the task.
    """
    wanted = config.utility
    if not wanted.tasks:
        return []
    directory = pathlib.Path(config.workdir) / DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    settings = [dataclasses.asdict(wanted) | {"tasks": ()}, _contents(wanted.include), config.dtype]
    if wanted.chat_template:
        settings.append("arguments of the template")  # which results of before were made without
    tables = []
    for entry in config.models:
        name, path = named(entry, "models")
        if path.endswith(GIVEN) or re.fullmatch(SERVED, path):
            notify(f"{name}: {path} has no weights here: left out of utility")
            continue
        kwargs = config.template_kwargs() if wanted.chat_template else None
        weights, loaded = models.digest(path, template_kwargs=kwargs), None
        for task in wanted.tasks:
            key = digest([name, weights, task, *settings])
            file = directory / file_name(f"{name}-{task}", f"{key}.json")
            if not file.is_file():
                notify(f"{name}: {task}")
                loaded = loaded or models.load(name, path, config.dtype, template_kwargs=kwargs)
                table = benchmarks.tabulate(_run(config, loaded, task), name)
                atomic.write_json(file, table.json())
            tables.append(read_json(file))
    found = stack(tables)
    for table in found:
        atomic.write_text(directory / f"{table.name}.csv", table.csv(), "backslashreplace")
    return found


def _run(config: EvaluationConfig, model: models.LoadedModel, task: str) -> benchmarks.Results:
    wanted = config.utility
    return benchmarks.run(
        model,
        [task],
        include=wanted.include or None,
        limit=wanted.limit,
        few_shots=wanted.few_shots,
        chat_template=wanted.chat_template,
        batch_size=config.generation.batch_size,
        seed=wanted.seed,
    )


def _contents(include: str) -> list[tuple[str, str]]:
    """(name, hash) of every task file in a directory, of functions beside them, and of the files of
    data here that task files name.
    """
    if not include:
        return []
    files = sorted(pathlib.Path(include).rglob("*.y*ml"))
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in files)
    named = sorted({name for text in texts for name in _DATA.findall(text)})
    files += sorted(pathlib.Path(include).rglob("*.py"))
    files += [data for data in map(pathlib.Path, named) if data.is_file()]
    return [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]
