"""The training loop: the one place where steps, evaluation, logging and checkpoints meet."""

from __future__ import annotations

import pathlib
import time
from typing import Any

import jax
import numpy as np

from dignified_jax.data import DIMENSIONS
from dignified_jax.models import hf
from dignified_jax.models.partition import BATCH_AXES
from dignified_jax.training import checkpoint, metrics, rundir, setup, summary
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.evaluate import evaluate
from dignified_jax.training.optimizer import make_optimizer, make_schedule
from dignified_jax.training.sharding import put_batch
from dignified_jax.training.state import TrainState, init_state
from dignified_jax.training.step import make_eval_step, make_train_step


class NonFiniteError(RuntimeError):
    """The loss or its gradient became NaN or infinite; the last checkpoint is whole."""


def run(config: TrainConfig) -> dict[str, Any]:
    """Trains, evaluates on the test split once at the end, and exports.

    Goes on from the newest checkpoint in `config.workdir` when there is one.

    Returns:
      The summary, which is also in summary.json.

    Raises:
      NonFiniteError: names the step and the examples of the batch.
    """
    workdir = rundir.prepare(config)
    model = setup.prepare_model(config)
    rows_per_step = config.rows_per_device * int(np.prod([model.mesh.shape[a] for a in BATCH_AXES]))
    splits = setup.prepare_data(config, workdir, rows_per_step)
    for note in splits.notes:
        _say(note)
    if jax.process_index() == 0:
        rundir.write_config(workdir, config)
        checkpoint.copy_model_files(model.directory, workdir / checkpoint.MODEL_DIRECTORY)
        hf.save_tokenizer(workdir / checkpoint.MODEL_DIRECTORY, splits.tokenizer)

    steps = setup.total_steps(config, splits.train)
    optimizer = make_optimizer(config.optimizer, steps)
    schedule = make_schedule(config.optimizer, steps)
    state = init_state(model.params, config.method, len(DIMENSIONS), optimizer, model.mesh)
    train_step = make_train_step(model.module, config.method, optimizer, model.mesh)
    eval_step = make_eval_step(model.module, config.method, model.mesh)

    def held_out(state: TrainState, stream: Any) -> dict[str, Any]:
        return evaluate(
            eval_step, config.method, state, model.reference, stream, model.mesh, rows_per_step
        )

    manager = checkpoint.open_manager(workdir / "checkpoints", config.checkpoints_to_keep)
    if manager.latest_step() is not None:
        state = checkpoint.restore(manager, state)
        _say(f"resuming after step {int(state.step)} from {manager.directory}")
    first = int(state.step)
    if jax.process_index() == 0:
        rundir.trim_metrics(workdir, first)

    for step in range(first, steps):
        started = time.perf_counter()
        batch = splits.train.batch(step)
        state, report = train_step(
            state,
            model.reference,
            put_batch(batch, model.mesh, rows_per_step),
            setup.accumulation_steps(splits.train, step, rows_per_step),
        )
        flat = metrics.flatten(report, DIMENSIONS)
        if not flat.pop("finite"):
            manager.wait_until_finished()
            raise NonFiniteError(_diagnosis(step, splits.train, flat, manager))
        flat |= {"step": step + 1, "learning_rate": float(schedule(step))}
        flat |= {"epoch": (step + 1) / splits.train.steps_per_epoch}
        flat["seconds"] = time.perf_counter() - started
        _log(workdir, flat)
        _say(summary.progress_line(flat, steps))
        if splits.validation is not None and (step + 1) % config.eval_every == 0:
            evaluated = metrics.flatten(held_out(state, splits.validation), DIMENSIONS, "eval/")
            _log(workdir, {"step": step + 1, **evaluated})
            _say(summary.evaluation_line(evaluated))
        # Last, so that a checkpoint never comes before what was logged for its step.
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == steps:
            checkpoint.save(manager, state)

    manager.wait_until_finished()
    manager.close()
    result = summary.build(
        config,
        state,
        metrics.flatten(held_out(state, splits.test), DIMENSIONS, "test/"),
        splits.test,
    )
    export = workdir / "export"
    generation = model.directory / "generation_config.json"
    hf.save(
        export,
        model.module,
        state.params,
        splits.tokenizer,
        dtype=model.export_dtype,
        generation_config=generation if generation.is_file() else None,
    )
    if jax.process_index() == 0:
        summary.write(workdir, result)
    _say(summary.table(result))
    _say(f"run directory: {workdir}\nHugging Face export: {export}")
    return result


def _diagnosis(step: int, stream: Any, flat: dict[str, float], manager: Any) -> str:
    bad = [f"{name}={value}" for name, value in flat.items() if not np.isfinite(value)]
    return (
        f"step {step + 1}: the loss or its gradient is not finite ({', '.join(bad[:8])}); "
        f"training examples of the batch: {stream.indices(step).tolist()}; "
        f"last whole checkpoint: {manager.latest_step()} in {manager.directory}"
    )


def _log(workdir: pathlib.Path, record: dict[str, Any]) -> None:
    if jax.process_index() == 0:
        rundir.log(workdir, record)


def _say(text: str) -> None:
    if jax.process_index() == 0:
        print(text, flush=True)
