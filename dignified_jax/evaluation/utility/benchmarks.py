"""Tasks of lm-evaluation-harness on one of our models, and their figures as a table.

lm_eval (extra `eval`) takes seconds to import and is imported when a task runs.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dignified_jax.console.table import Table
from dignified_jax.data.schema import shorten
from dignified_jax.evaluation.models import LoadedModel
from dignified_jax.typed_config import suggestion

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

Results = Mapping[str, Any]
"""What lm_eval returns: `results`, `n-samples`, `configs` and more."""


class BenchmarkError(ValueError):
    """A benchmark can't run: no lm_eval, no such task, or its data are not to be had."""


def run(
    model: LoadedModel,
    tasks: Sequence[str],
    *,
    include: str | pathlib.Path | None = None,
    limit: int | None = None,
    few_shots: int | None = None,
    chat_template: bool = False,
    batch_size: int = 32,
    seed: int = 0,
) -> Results:
    """Runs tasks on a model.

    Args:
      model: to run them on.
      tasks: names of lm_eval, such as "mmlu" or "bbh", or of files in `include`.
      include: directory of task files (YAML) of one's own.
      limit: documents of each task, the first ones; None for all.
      few_shots: worked examples before each; None for what the task says.
      chat_template: whether contexts are turns of a conversation.
      batch_size: sequences that are sampled together.
      seed: of the choice of worked examples.

    Raises:
      BenchmarkError: lm_eval is not installed, there is no such task, or it fails.
    """
    manager = check(tasks, include)
    from lm_eval import simple_evaluate

    from dignified_jax.evaluation.utility.harness_model import DecoderLM

    driven = DecoderLM(
        *(model.module, model.params, model.tokenizer),
        name=model.name,
        batch_size=batch_size,
        stops=model.stops,
        template_kwargs=model.template_kwargs,
    )
    try:
        found = simple_evaluate(
            model=driven,
            tasks=list(tasks),
            num_fewshot=few_shots,
            limit=limit,
            apply_chat_template=chat_template,
            task_manager=manager,
            fewshot_random_seed=seed,
            bootstrap_iters=1000,
        )
    except BenchmarkError:
        raise
    except Exception as error:  # of data sets, hubs and templates, of any kind
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise BenchmarkError(f"{', '.join(tasks)}: {lines[0][:300]}") from error
    found["config"]["model"] = model.name
    return found


def check(tasks: Sequence[str], include: str | pathlib.Path | None = None) -> TaskManager:
    """Returns what finds the tasks; lm_eval's own, which take long to list, only if need be.

    Raises:
      BenchmarkError: lm_eval or the directory is missing, or there is no such task; names near
        ones.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise BenchmarkError("benchmarks need lm-eval: pip install 'dignified_jax[eval]'")
    if include is not None and not pathlib.Path(include).is_dir():
        raise BenchmarkError(f"{include}: expected a directory of task files, found none")
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from lm_eval.tasks import TaskManager

    if include is not None:
        own = TaskManager(include_path=str(include), include_defaults=False)
        if all(own.match_tasks([task]) for task in tasks):
            return own
    manager = TaskManager(include_path=None if include is None else str(include))
    for task in tasks:
        if not manager.match_tasks([task]):
            near = suggestion(task, manager.all_tasks)
            raise BenchmarkError(f"no task {shorten(task)}{near}")
    return manager


def tabulate(found: Results, model: str) -> Table:
    """Returns a row for each task or group and each of its figures, with standard error and n.

    Args:
      found: from `run`.
      model: label of the model.
    """
    names = ("model", "task", "metric", "filter", "value", "se", "n", "shots")
    columns: dict[str, list[object]] = {name: [] for name in names}
    for task, figures in found["results"].items():
        count = _count(found, task)
        for key, value in figures.items():
            metric, _, chosen = key.partition(",")
            if not chosen or metric.endswith("_stderr") or isinstance(value, str):
                continue
            error = figures.get(f"{metric}_stderr,{chosen}", math.nan)
            row = (
                *(model, task, metric, chosen, float(value)),
                math.nan if isinstance(error, str) else float(error),
                *(count, found.get("n-shot", {}).get(task, "")),
            )
            for values, cell in zip(columns.values(), row, strict=True):
                values.append(cell)
    return Table("utility", "utility: benchmarks of lm-evaluation-harness", columns)


def _count(found: Results, task: str) -> int:
    """Documents of a task; of a group those of its tasks."""
    members = found.get("group_subtasks", {}).get(task) or ()
    if members and task not in found["n-samples"]:
        return sum(_count(found, member) for member in members)
    return int(found["n-samples"].get(task, {}).get("effective", 0))
