"""The training loop: the one place where steps, evaluation, logging and checkpoints meet."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import PyTree
from orbax.checkpoint import CheckpointManager

from dignified_jax.cluster import members
from dignified_jax.console.safe_stream import SafeStream
from dignified_jax.console.waiting import Waiting, waiting
from dignified_jax.data import PackedBatch
from dignified_jax.files import atomic
from dignified_jax.models.lora import LoraConfig
from dignified_jax.objectives import Objective
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.diagnosis import NonFiniteError, diagnose
from dignified_jax.training.display import plots, progress, status_text, summary, trackers
from dignified_jax.training.export import export
from dignified_jax.training.run import checkpoint, compilation_cache, continuation, interrupt
from dignified_jax.training.run import directory as run_directory
from dignified_jax.training.run.compiled import CompiledFunction
from dignified_jax.training.run_context import EVAL_PREFIX, RunContext, prepare
from dignified_jax.training.split_evaluation import evaluate_split
from dignified_jax.training.step import flops, metrics
from dignified_jax.training.step.optimizer import make_schedule
from dignified_jax.training.step.state import TrainState, init_state
from dignified_jax.training.step.train_step import make_train_step


def run(config: TrainConfig) -> dict[str, Any]:
    """Trains, evaluates on the test split once at the end, and exports.

    Goes on from the newest checkpoint in `config.workdir` when there is one.

    Returns:
      The summary, which is also in summary.json.

    Raises:
      NonFiniteError: names the step and the examples of the batch.
      interrupt.Interrupted: Ctrl-C or SIGTERM; a checkpoint of the last step was written first.
      directory.BusyError: another run is writing to the directory.
    """
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(_opened(config))
        stack.enter_context(compilation_cache.used(config, place.notify))
        continuation.check_method(place.files, config)
        context = prepare(config, place.files, place.notify)
        manager = stack.enter_context(
            checkpoint.opened(
                run_directory.checkpoints(context.workdir),
                config.checkpoints_to_keep,
                best_metric=config.best_metric,
                best_mode=config.best_mode or "min",
            )
        )
        state = _start(context, manager, place.notify)
        with _watched(context, int(state.step)) as watch:
            state = _train(context, state, manager, watch, place.publish)
        members.at("writing the last checkpoint")
        with _show()(
            "writing the last checkpoint", share=True, look=checkpoint.watched(manager, state)
        ):
            checkpoint.finish(manager, state)
        if config.best_metric is not None and manager.best_step() != int(state.step):
            _notify(
                f"testing and exporting step {manager.best_step()}, best by {config.best_metric}"
            )
            state = checkpoint.restore(manager, state, manager.best_step(), _show())
        return _finish(context, state, config.method.name, place.notify)


def _opened(config: TrainConfig) -> contextlib.AbstractContextManager[run_directory.RunDirectory]:
    return run_directory.opened(config, _notify, leads=jax.process_index() == 0)


def assess(
    config: TrainConfig, objective: Objective, policy: Callable[[Mesh], PyTree]
) -> dict[str, Any]:
    """Tests and exports a policy that was not trained here.

    Args:
      config: of the method that made it; `config.model` is the reference.
      objective: whose losses and rewards are reported.
      policy: gives the policy's parameters on a mesh.

    Returns:
      As `run`.
    """
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(_opened(config))
        stack.enter_context(compilation_cache.used(config, place.notify))
        continuation.check_method(place.files, config)
        context = prepare(assessed(config, objective), place.files, place.notify)
        if jax.process_index() == 0:
            continuation.write_config(context.workdir, config)  # with which it is done again
        state = TrainState(
            step=jnp.zeros((), jnp.int32),
            params=policy(context.model.mesh),
            opt_state=(),
            method_state=objective.init(len(config.data.dimensions)),
        )
        with _show()("compiling the score step"):
            _compile_evaluation(context, state, _notify)
        return _finish(context, state, config.method.name, place.notify)


def assessed(config: TrainConfig, objective: Objective) -> TrainConfig:
    """Returns the configuration by which `assess` tests: the policy is whole, whatever its stages
    trained."""
    return dataclasses.replace(config, method=objective, lora=LoraConfig())


def _start(
    context: RunContext, manager: CheckpointManager, notify: Callable[[str], None]
) -> TrainState:
    """The first state, or that of the newest checkpoint; the log is cut back to it."""
    config, model = context.config, context.model
    count = len(config.data.dimensions)
    state = init_state(model.params, config.method, count, context.optimizer, model.mesh)
    if manager.latest_step() is not None:
        state = checkpoint.restore(manager, state, show=_show())
        notify(f"resuming after step {int(state.step)} from {manager.directory}")
    if jax.process_index() == 0:
        for note in run_directory.trim_metrics(context.workdir, int(state.step)):
            notify(note)
    return state


@dataclasses.dataclass(frozen=True)
class _Watch:
    """Where the loop's news go, and where a signal comes from."""

    workdir: pathlib.Path
    curves: trackers.Trackers
    bar: progress.Progress
    interrupts: interrupt.Interrupts

    def log(self, record: dict[str, Any]) -> None:
        """To metrics.jsonl and the trackers; `record` holds the step."""
        if jax.process_index() == 0:
            run_directory.log(self.workdir, record)
        self.curves.log(record["step"], record)


@contextlib.contextmanager
def _watched(context: RunContext, start: int) -> Iterator[_Watch]:
    config, workdir = context.config, context.workdir
    only = {"visible": jax.process_index() == 0}
    fields = run_directory.as_dict(config)
    with (
        trackers.open(workdir, start, fields, config.wandb_project, **only) as curves,
        progress.open(context.steps, start, dimensions=config.data.dimensions, **only) as bar,
        interrupt.watched(bar.notify) as interrupts,
    ):
        yield _Watch(workdir, curves, bar, interrupts)


def _train(
    context: RunContext,
    state: TrainState,
    manager: CheckpointManager,
    watch: _Watch,
    publish: Callable[[], None],
) -> TrainState:
    """Steps from the state's own to the last, with logging, evaluation and checkpoints."""
    config, steps = context.config, context.steps
    members.at("compiling")
    _compile_evaluation(context, state, watch.bar.notify)
    step_once = _stepper(context, state, manager, watch.bar.notify)
    origin = continuation.as_run(config, context.identity)
    for step in range(int(state.step) + 1, steps + 1):
        state, flat = step_once(state, step)
        watch.log(flat)
        watch.bar.step(flat)
        evaluated = None
        if _due(step, config.eval_every, steps) and "validation" in context.data.streams:
            with watch.bar.doing("evaluating batch") as count:
                evaluated = evaluate_split(context, state, "validation", EVAL_PREFIX, count)
            watch.log({"step": step, **evaluated})
            watch.bar.notify(status_text.evaluation(evaluated, step, config.data.dimensions))
        signal = watch.interrupts.pending(step)
        # Last, so that a checkpoint never comes before what was logged for its step.
        if _due(step, config.checkpoint_every, steps) or signal:
            members.at(f"saving the checkpoint of step {step}")
            publish()
            checkpoint.save(manager, state, _judged(config, evaluated), origin)
            members.at(f"after saving that of step {step}", "between")
        if signal and step < steps:
            checkpoint.finish(manager, state)
            raise interrupt.Interrupted(
                f"{signal.name}: stopped after step {step} of {steps}, whose checkpoint is in "
                f"{manager.directory}; the same command goes on from there",
                128 + signal,
            )
    return state


def _due(step: int, every: int, steps: int) -> bool:
    return step % every == 0 or step == steps


def _judged(config: TrainConfig, evaluated: dict[str, float] | None) -> dict[str, float] | None:
    """The value that a checkpoint is judged by."""
    if config.best_metric is None or evaluated is None:
        return None
    return {config.best_metric: evaluated[config.best_metric]}


def _compile_evaluation(
    context: RunContext, state: TrainState, notify: Callable[[str], None]
) -> None:
    """The score step, for the policy and a resident reference; before anything waits for it."""
    for split in context.data.streams:
        if split == "train":
            continue
        _, inputs = context.inputs(split, 0)
        on_devices = inputs.batch, inputs.num_accumulation_steps
        context.score_step.compile(notify, context.model.policy(state.params), *on_devices)
        if inputs.reference_params is not None:
            context.score_step.compile(notify, inputs.reference_params, *on_devices)


def _stepper(
    context: RunContext,
    state: TrainState,
    manager: CheckpointManager,
    notify: Callable[[str], None],
) -> Callable[[TrainState, int], tuple[TrainState, dict[str, float]]]:
    """`(state, number of the step) -> (state, metrics)`, which stops on what is not finite.

    Compiled for `state` and the batch that is next, and so for all.
    """
    model, method = context.model, context.objective
    balance = context.config.model.router_aux_loss_coef
    jitted = make_train_step(model.module, method, context.optimizer, model.mesh, balance)
    train_step = CompiledFunction("the train step", jitted)
    if int(state.step) < context.steps:
        _, inputs = context.inputs("train", int(state.step))
        train_step.compile(notify, state, inputs)
    schedule = make_schedule(context.config.optimizer, context.steps)
    stream, rates = context.data.streams["train"], _rates(context)

    def step_once(state: TrainState, step: int) -> tuple[TrainState, dict[str, float]]:
        started = time.perf_counter()
        host, inputs = context.inputs("train", step - 1)
        members.at(f"step {step}", "step")
        state, report = train_step(state, inputs)
        log_probs = report.pop("log_probs")
        flat = metrics.flatten(report, context.config.data.dimensions)
        members.at(f"after step {step}", "between")
        if not flat.pop("finite"):
            checkpoint.finish(manager, state)
            raise NonFiniteError(diagnose(context, step, flat, log_probs, manager.latest_step()))
        flat |= metrics.of_golden(flat, host.response_mask, host.response_length, method)
        flat |= {"step": step, "learning_rate": float(schedule(step - 1))}
        flat |= {"epoch": step / stream.steps_per_epoch}
        return state, flat | rates(host, step, time.perf_counter() - started)

    return step_once


def _rates(context: RunContext) -> Callable[[PackedBatch, int, float], dict[str, float]]:
    """`(batch on the host, number of its step, seconds it took) -> metrics of speed`."""
    config, model, stream = context.config, context.model, context.data.streams["train"]
    devices = model.mesh.local_devices
    peak = flops.peak_flops(devices[0].device_kind, config.model.compute_dtype)
    resident = config.method.needs_reference and context.cached is None

    def rates(host: PackedBatch, step: int, seconds: float) -> dict[str, float]:
        speed = {"seconds": seconds, "tokens_per_second": stream.useful_tokens(step - 1) / seconds}
        if peak is None:
            return speed
        geometry, method = model.module.config, context.objective
        useful = flops.useful_flops(geometry, host, resident, config.lora, method)
        return speed | {"mfu": flops.utilisation(useful, seconds, len(devices), peak)}

    return rates


def _finish(
    context: RunContext, state: TrainState, name: str, notify: Callable[[str], None]
) -> dict[str, Any]:
    """Test, summary under the method's name, export to Hugging Face, and the final table."""
    config, workdir = context.config, context.workdir
    visible = jax.process_index() == 0
    with waiting("testing batch", visible) as count:
        test = evaluate_split(context, state, "test", "test/", count)
    config = dataclasses.replace(config, method=context.objective)
    members.at("exporting")
    result = summary.build(config, state, test, context.data.streams["test"]) | {"method": name}
    with waiting("exporting", visible, share=True) as count:
        exported, *adapters = export(context, state.params, count)
    if jax.process_index() == 0:
        atomic.write_json(workdir / run_directory.SUMMARY_FILE, result)
        if (workdir / run_directory.METRICS_FILE).is_file():
            plots.write(workdir)
    notify(summary.table(result))
    notify(f"run directory: {workdir}\nHugging Face export: {exported}")
    for directory in adapters:
        notify(f"PEFT adapter: {directory}")
    return result


def _show() -> Waiting:
    """Shows what is waited for, in the first process."""
    return functools.partial(waiting, visible=jax.process_index() == 0)


def _notify(text: str) -> None:
    """A line before or after the live display."""
    if jax.process_index() == 0:
        stream = SafeStream(sys.stdout)
        stream.write(text + "\n")
        stream.flush()
