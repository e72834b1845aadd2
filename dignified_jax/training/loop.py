"""The training loop: the one place where steps, evaluation, logging and checkpoints meet."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from dignified_jax.data import DIMENSIONS, BatchStream
from dignified_jax.models import hf
from dignified_jax.training import checkpoint, metrics, rundir, setup, summary
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.evaluate import evaluate
from dignified_jax.training.optimizer import make_optimizer, make_schedule
from dignified_jax.training.sharding import make_mesh, put_batch
from dignified_jax.training.state import TrainState, init_state
from dignified_jax.training.step import make_eval_step, make_train_step


class NonFiniteError(RuntimeError):
    """The loss or its gradient became NaN or infinite; the last checkpoint is whole."""


@dataclasses.dataclass(frozen=True)
class _Run:
    """What stays the same from the first step to the last."""

    config: TrainConfig
    workdir: pathlib.Path
    rows_per_step: int
    splits: setup.Data
    model: setup.Model
    optimizer: optax.GradientTransformation
    steps: int

    def put(self, stream: BatchStream, step: int) -> tuple[Any, np.int32]:
        """(batch `step` on the devices, its non-empty accumulation steps)."""
        batch = put_batch(stream.batch(step), self.model.mesh, self.rows_per_step)
        return batch, setup.accumulation_steps(stream, step, self.rows_per_step)


def run(config: TrainConfig) -> dict[str, Any]:
    """Trains, evaluates on the test split once at the end, and exports.

    Goes on from the newest checkpoint in `config.workdir` when there is one.

    Returns:
      The summary, which is also in summary.json.

    Raises:
      NonFiniteError: names the step and the examples of the batch.
    """
    prepared = _prepare(config)
    manager = checkpoint.open_manager(prepared.workdir / "checkpoints", config.checkpoints_to_keep)
    state = init_state(
        prepared.model.params,
        config.method,
        len(DIMENSIONS),
        prepared.optimizer,
        prepared.model.mesh,
    )
    if manager.latest_step() is not None:
        state = checkpoint.restore(manager, state)
        _say(f"resuming after step {int(state.step)} from {manager.directory}")
    if jax.process_index() == 0:
        rundir.trim_metrics(prepared.workdir, int(state.step))
    evaluate_on = _evaluator(prepared)
    state = _train(prepared, state, manager, evaluate_on)
    manager.wait_until_finished()
    manager.close()
    return _finish(prepared, state, evaluate_on(state, prepared.splits.test, "test/"))


def _prepare(config: TrainConfig) -> _Run:
    """Data before weights: a bad row should not cost a download or a load."""
    workdir = rundir.prepare(config)
    mesh = make_mesh(config.mesh)
    rows_per_step = config.rows_per_device * mesh.size
    splits = setup.prepare_data(config, workdir, rows_per_step)
    for note in splits.notes:
        _say(note)
    model = setup.prepare_model(config, mesh)
    if jax.process_index() == 0:
        rundir.write_config(workdir, config)
        checkpoint.copy_model_files(model.directory, workdir / checkpoint.MODEL_DIRECTORY)
        hf.save_tokenizer(workdir / checkpoint.MODEL_DIRECTORY, splits.tokenizer)
    steps = setup.total_steps(config, splits.train)
    optimizer = make_optimizer(config.optimizer, steps)
    return _Run(config, workdir, rows_per_step, splits, model, optimizer, steps)


def _train(run: _Run, state: TrainState, manager: Any, evaluate_on: Any) -> TrainState:
    """Steps from the state's own to the last, with logging, evaluation and checkpoints."""
    config, model, stream = run.config, run.model, run.splits.train
    train_step = make_train_step(model.module, config.method, run.optimizer, model.mesh)
    schedule = make_schedule(config.optimizer, run.steps)
    for step in range(int(state.step), run.steps):
        started = time.perf_counter()
        state, report = train_step(state, model.reference, *run.put(stream, step))
        flat = metrics.flatten(report, DIMENSIONS)
        if not flat.pop("finite"):
            manager.wait_until_finished()
            raise NonFiniteError(_diagnosis(step, run.splits, flat, manager))
        flat |= {"step": step + 1, "learning_rate": float(schedule(step))}
        flat |= {"epoch": (step + 1) / stream.steps_per_epoch}
        flat["seconds"] = time.perf_counter() - started
        _log(run.workdir, flat)
        _say(summary.progress_line(flat, run.steps))
        if run.splits.validation is not None and (step + 1) % config.eval_every == 0:
            evaluated = evaluate_on(state, run.splits.validation, "eval/")
            _log(run.workdir, {"step": step + 1, **evaluated})
            _say(summary.evaluation_line(evaluated))
        # Last, so that a checkpoint never comes before what was logged for its step.
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == run.steps:
            checkpoint.save(manager, state)
    return state


def _evaluator(run: _Run) -> Callable[[TrainState, BatchStream, str], dict[str, float]]:
    """`(state, stream, prefix) -> metrics` over all examples of a stream."""
    model, method = run.model, run.config.method
    eval_step = make_eval_step(model.module, method, model.mesh)

    def evaluate_on(state: TrainState, stream: BatchStream, prefix: str) -> dict[str, float]:
        batches = (
            (stream.batch(step), *run.put(stream, step)) for step in range(stream.total_steps)
        )
        report = evaluate(eval_step, method, state, model.reference, batches)
        return metrics.flatten(report, DIMENSIONS, prefix)

    return evaluate_on


def _finish(run: _Run, state: TrainState, test: dict[str, float]) -> dict[str, Any]:
    """Summary, export to Hugging Face, and the final table."""
    result = summary.build(run.config, state, test, run.splits.test)
    export = run.workdir / "export"
    generation = run.model.directory / "generation_config.json"
    hf.save(
        export,
        run.model.module,
        state.params,
        run.splits.tokenizer,
        dtype=run.model.export_dtype,
        generation_config=generation if generation.is_file() else None,
    )
    if jax.process_index() == 0:
        summary.write(run.workdir, result)
    _say(summary.table(result))
    _say(f"run directory: {run.workdir}\nHugging Face export: {export}")
    return result


def _diagnosis(step: int, splits: setup.Data, flat: dict[str, float], manager: Any) -> str:
    bad = [f"{name}={value}" for name, value in flat.items() if not np.isfinite(value)]
    prompts = [splits.train_prompts[i][:60] for i in splits.train.indices(step)]
    last = manager.latest_step()
    kept = f"checkpoint {last} in {manager.directory} is whole" if last else "no checkpoint yet"
    return (
        f"step {step + 1}: the loss or its gradient is not finite ({', '.join(bad[:8])}); {kept}. "
        "Prompts of the batch:\n  " + "\n  ".join(map(repr, prompts))
    )


def _log(workdir: pathlib.Path, record: dict[str, Any]) -> None:
    if jax.process_index() == 0:
        rundir.log(workdir, record)


def _say(text: str) -> None:
    if jax.process_index() == 0:
        print(text, flush=True)
