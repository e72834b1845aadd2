"""The same scores of every policy, whatever it was trained with.

On the test rows: DPO losses, margins and accuracies against the first model, at one beta; the
"longer answer" baseline; and the token-level KL(policy || first model) over the tokens of all test
responses, exact over the vocabulary. (Those are given responses, not the policy's own samples.)
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dignified_jax.console.waiting import Waiting, counting, silent, waiting
from dignified_jax.data import BatchStream, PackedBatch
from dignified_jax.models import hf
from dignified_jax.models.decoder import Decoder, Params
from dignified_jax.training.config import ConfigError, TrainConfig
from dignified_jax.training.display import summary
from dignified_jax.training.inputs import data as input_data
from dignified_jax.training.inputs import model as input_model
from dignified_jax.training.step import metrics, sharding
from dignified_jax.training.step.held_out import evaluate
from dignified_jax.training.step.state import TrainState
from dignified_jax.training.step.step_inputs import Reference, StepInputs
from dignified_jax.training.step.train_step import ScoreStep, make_kl_step, make_score_step

_FIGURES = ("pairs", "loss", "accuracy", "margin", "longer")


@dataclasses.dataclass(frozen=True)
class PolicyScorer:
    """The first model and the test rows.

    Attributes:
      config: its method is the DPO whose losses are reported.
      module, mesh: of every policy.
      reference: the first model.
      stream: of the test rows.
      rows_per_step: packed rows of one accumulation step.
      inputs: fingerprints of the first model, the tokenizer and the test rows.
    """

    config: TrainConfig
    module: Decoder
    mesh: Mesh
    reference: Reference
    stream: BatchStream
    rows_per_step: int
    inputs: dict[str, str]
    score_step: ScoreStep
    kl_step: ScoreStep


def prepare_rows(
    config: TrainConfig, notify: Callable[[str], None] | None = None
) -> input_data.PreparedData:
    """Reads the test rows, for `made_on` and `make_scorer`; arguments and errors as there."""
    rows_per_step = config.rows_per_device * sharding.row_devices(sharding.make_mesh(config.mesh))
    return input_data.prepare_data(config, pathlib.Path(config.workdir), rows_per_step, notify)


def made_on(data: input_data.PreparedData) -> dict[str, str]:
    """Returns the fingerprints that every score at these test rows has among its inputs.

    Those of token ids are left out: with a chat template that reads the clock they change by day.
    """
    return {name: data.identity[name] for name in ("tokenizer", "chat template", "test rows")}


def make_scorer(
    config: TrainConfig,
    notify: Callable[[str], None] | None = None,
    data: input_data.PreparedData | None = None,
) -> PolicyScorer:
    """Makes the scorer of policies that began with `config.model`, from `plan.scorer_config`.

    Args:
      config: the scorer's.
      notify: shows a line to a person; None shows nothing, nor what is being waited for.
      data: from `prepare_rows`; None reads them.

    Raises:
      As `training.inputs`.
    """
    mesh = sharding.make_mesh(config.mesh)
    rows_per_step = config.rows_per_device * sharding.row_devices(mesh)
    show = functools.partial(waiting, visible=notify is not None and jax.process_index() == 0)
    if data is None:
        data = prepare_rows(config, notify)
    model = input_model.prepare_model(config, mesh, show)
    theirs = {name: value for name, value in data.identity.items() if "train" not in name}
    return PolicyScorer(
        config=config,
        module=model.module,
        mesh=mesh,
        reference=model.reference,
        stream=data.streams["test"],
        rows_per_step=rows_per_step,
        inputs={**model.identity, **theirs},
        score_step=make_score_step(model.module, mesh),
        kl_step=make_kl_step(model.module, mesh),
    )


def score(
    scorer: PolicyScorer, directory: str | pathlib.Path, show: Waiting = silent
) -> dict[str, Any]:
    """Scores a policy.

    Args:
      scorer: from `make_scorer`.
      directory: the policy's weights in Hugging Face format.
      show: shows what is waited for.

    Returns:
      beta; inputs; kl, in nats per token, the mean over the tokens of all test responses; tokens;
      dimensions: name -> pairs, loss, accuracy, margin, longer.

    Raises:
      ConfigError: the policy is not of the first model's shape.
    """
    dtype = scorer.config.model.param_dtype
    with show(f"loading {directory}", share=True) as count:
        module, params = hf.load(directory, dtype, scorer.mesh, progress=count)
    if not module.config.computes_like(scorer.module.config):
        raise ConfigError(f"{directory} is not of the shape of {scorer.config.model.path}")
    batches = [_inputs(scorer, step) for step in range(scorer.stream.total_steps)]
    method, dimensions = scorer.config.method, scorer.config.data.dimensions
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=(),
        method_state=method.init(len(dimensions)),
    )
    with show(f"scoring {directory}, batch") as count:
        counted = counting(batches, count, 2 * len(batches), together=1)
        report = evaluate(scorer.score_step, method, state, counted)
        counted = counting(batches, count, 2 * len(batches), len(batches), together=1)
        divergence = sum(_divergence(scorer, params, inputs) for _, inputs in counted)
    test = metrics.flatten(report, dimensions, "test/")
    rows = summary.build(scorer.config, state, test, scorer.stream)["dimensions"]
    tokens = sum(int(host.response_length.sum()) for host, _ in batches)
    return {
        "beta": method.beta,
        "inputs": scorer.inputs,
        "kl": divergence / tokens,
        "tokens": tokens,
        "dimensions": {k: {name: row[name] for name in _FIGURES} for k, row in rows.items()},
    }


def _divergence(scorer: PolicyScorer, params: Params, inputs: StepInputs) -> np.float64:
    """The divergences of a batch's tokens, summed."""
    pair = params, inputs.reference_params
    found = scorer.kl_step(pair, inputs.batch, inputs.num_accumulation_steps)
    return np.asarray(found, np.float64).sum()


def _inputs(scorer: PolicyScorer, step: int) -> tuple[PackedBatch, StepInputs]:
    """A batch on the host, and on the devices with the first model as its reference."""
    host = scorer.stream.batch(step)
    return host, StepInputs(
        batch=sharding.put_batch(host, scorer.mesh, scorer.rows_per_step),
        num_accumulation_steps=input_data.accumulation_steps(
            scorer.stream, step, scorer.rows_per_step
        ),
        reference=scorer.reference,
    )
