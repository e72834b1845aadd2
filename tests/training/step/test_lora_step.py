"""A train step on LoRA alone: against a plain computation, over meshes, and what it does not hold.

Base and LoRA are random and far from 0, so that log-ratios and gradients are too. Tolerances are
relative to the largest entry of the array.
"""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dignified_jax.data import BatchStream
from dignified_jax.models import hf, partition
from dignified_jax.models.lora import LoraConfig, LoraParams, variables
from dignified_jax.objectives import LagDPO, PCGradDPO
from dignified_jax.training.inputs import data as input_data
from dignified_jax.training.step import sharding
from dignified_jax.training.step.held_out import evaluate
from dignified_jax.training.step.optimizer import OptimizerConfig, make_optimizer
from dignified_jax.training.step.state import init_state
from dignified_jax.training.step.step_inputs import (
    CachedReference,
    LoraBaseReference,
    ResidentReference,
    StepInputs,
)
from dignified_jax.training.step.train_step import make_score_step, make_train_step
from tests.oracles import hf_models, sequences

pytestmark = pytest.mark.wiring

BATCH = 16
METHOD = LagDPO(beta=0.2, lambda_init=(0.3, 0.05, 0.1, 2.0))
EXAMPLES = sequences.random_examples(BATCH, 0, prompt=12, response=9)
# The first state of this optimiser is the gradient itself.
RECORDER = optax.chain(optax.trace(0.0), optax.sgd(0.05))


@dataclasses.dataclass
class Models:
    module: object
    lora: object
    base: object


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Module, and the trees of LoRA and of the base as NumPy arrays."""
    directory = tmp_path_factory.mktemp("model")
    # Every axis can be split over 2 devices of `tensor` and 2 of `fsdp`, or 4 of `fsdp`. No
    # weight has the shape of activations (64 or 72 tokens).
    hf_models.build("qwen3", vocab_size=132, head_dim=24).save_pretrained(directory)
    module, base = hf.load(directory)
    module = module.clone(remat="none", attention="dense", lora=LoraConfig(rank=4, alpha=3.0))
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["lora"]
    rng = np.random.default_rng(3)
    lora = jax.tree.map(lambda x: np.float32(0.3 * rng.normal(size=x.shape)), shapes)
    return Models(module, lora, to_host(base))


class Run:
    """The pieces of one step on a mesh; `whole` trains the base itself instead of LoRA."""

    def __init__(self, models, mesh=(1, 1, 1), method=METHOD, optimizer=RECORDER, whole=False):
        devices = jax.devices()[: math.prod(mesh)]
        self.mesh = sharding.make_mesh(sharding.MeshConfig(*mesh), devices)
        self.rows = sharding.row_devices(self.mesh)
        self.stream = BatchStream(
            EXAMPLES, batch_size=BATCH, row_length=72, rows_multiple=self.rows, shuffle=False
        )
        self.base = self.put(models.base)
        trained = self.put(models.base if whole else models.lora)
        self.state = init_state(trained, method, 4, optimizer, self.mesh)
        self.train_step = make_train_step(models.module, method, optimizer, self.mesh)
        batch = sharding.put_batch(self.stream.batch(0), self.mesh, self.rows)
        self.batch = (batch, input_data.accumulation_steps(self.stream, 0, self.rows))
        self.inputs = StepInputs(
            *self.batch,
            reference=ResidentReference(self.base) if whole else LoraBaseReference(),
            base=None if whole else self.base,
        )

    def put(self, params):
        copy = jax.tree.map(jnp.array, params)
        return jax.device_put(copy, partition.param_shardings(copy, self.mesh))

    def step(self):
        """(the state before, the state after, the report), on the host."""
        before = to_host(self.state)
        after, report = self.train_step(self.state, self.inputs)
        return before, to_host(after), to_host(report)

    def compiled(self):
        return self.train_step.lower(self.state, self.inputs).compile()


def to_host(tree):
    return jax.tree.map(np.array, tree)


def assert_close(got, want, tolerance):
    errors = jax.tree.map(lambda g, w: np.abs(np.float64(g) - w).max() / np.abs(w).max(), got, want)
    name, error = max(jax.tree.leaves_with_path(errors), key=lambda leaf: leaf[1])
    assert error <= tolerance, f"{jax.tree_util.keystr(name)}: {error}"


@pytest.fixture(scope="module")
def run(models):
    return Run(models)


@pytest.fixture(scope="module")
def stepped(run):
    """A step on one device, over several accumulation steps."""
    assert run.batch[1] > 2
    return run.step()


@pytest.fixture(scope="module")
def plain(models):
    """`weights of the dimensions -> (gradient, losses)`, written out over separate sequences."""
    tokens, mask = sequences.separate(EXAMPLES)
    pairs = sequences.response_mask(EXAMPLES)[:, 1:]
    without = models.module.clone(lora=LoraConfig())

    def total(lora, weights):
        logits = models.module.apply(variables(LoraParams(models.base, lora)), tokens)
        reference = without.apply({"params": models.base}, tokens)
        scores = [sequences.sum_log_probs(x, tokens, mask) for x in (logits, reference)]
        ratios = scores[0] - scores[1]
        margins = METHOD.beta * (ratios[:, :1] - ratios[:, 1:])
        sums = jnp.where(pairs, -jax.nn.log_sigmoid(margins), 0.0).sum(axis=0)
        losses = sums / pairs.sum(axis=0)
        return jnp.sum(weights * losses), losses

    compiled = jax.jit(jax.grad(total, has_aux=True))
    return lambda weights: to_host(compiled(models.lora, jnp.float32(weights)))


def test_the_step_equals_the_plain_computation(stepped, plain):
    """Losses 1e-6, gradient 1e-5; the update is of LoRA."""
    before, after, report = stepped
    want, losses = plain((1 + np.array(METHOD.lambda_init)) / 4)
    np.testing.assert_allclose(report["per_dimension/loss"], losses, rtol=1e-6)
    assert_close(after.opt_state[0].trace, want, 1e-5)
    assert_close(after.params, jax.tree.map(lambda p, g: p - 0.05 * g, before.params, want), 1e-6)
    assert np.ptp(losses) > 0.05 and report["grad_norm"] > 0.1


@pytest.mark.slow
def test_pcgrad_combines_lists_of_loras_gradients(models, plain):
    """Against the plain gradients, 1e-5; these do not conflict, so it is their mean."""
    method = PCGradDPO(beta=METHOD.beta)
    run = Run(models, method=method)
    gradients = [plain(one)[0] for one in np.eye(4)]
    want = to_host(method.combine(gradients, run.state.method_state))
    assert_close(want, plain(np.full(4, 0.25))[0], 1e-5)
    _, after, _ = run.step()
    assert_close(after.opt_state[0].trace, want, 1e-5)


@pytest.mark.parametrize(
    "mesh",
    [
        (2, 2, 2),
        *(pytest.param(m, marks=pytest.mark.slow) for m in [(1, 1, 2), (1, 4, 1), (1, 2, 2)]),
    ],
)
def test_meshes_do_not_matter(mesh, models, stepped):
    """Losses 1e-6, gradient of every matrix 5e-6, LoRA after the step 1e-6."""
    _, after, report = Run(models, mesh).step()
    np.testing.assert_allclose(
        report["per_dimension/loss"], stepped[2]["per_dimension/loss"], rtol=1e-6
    )
    np.testing.assert_allclose(report["grad_norm"], stepped[2]["grad_norm"], rtol=1e-6)
    assert_close(after.opt_state[0].trace, stepped[1].opt_state[0].trace, 5e-6)
    assert_close(after.params, stepped[1].params, 1e-6)


@pytest.mark.slow
def test_cached_log_probs_of_the_base_equal_the_resident_base(models, run, stepped):
    score_step = make_score_step(models.module, run.mesh)
    fresh = Run(models)
    log_probs = score_step(run.base, *run.batch)
    inputs = run.inputs.replace(reference=CachedReference(log_probs))
    after, report = run.train_step(fresh.state, inputs)
    np.testing.assert_allclose(report["loss"], stepped[2]["loss"], rtol=1e-6)
    assert_close(to_host(after).opt_state[0].trace, stepped[1].opt_state[0].trace, 5e-6)


def test_evaluation_compares_with_the_base(models, run, stepped):
    """The report of a step and that of an evaluation at the same LoRA; 1e-5 relative."""
    policy = LoraParams(run.base, run.put(models.lora))
    state = Run(models).state.replace(params=policy)
    batches = [(run.stream.batch(0), run.inputs)]
    report = evaluate(make_score_step(models.module, run.mesh), METHOD, state, batches)
    for name in ("per_dimension/loss", "per_dimension/rewards/margins"):
        np.testing.assert_allclose(report[name], stepped[2][name], rtol=1e-5, atol=1e-6)


def weights_made(program, base):
    """Operations of a compiled program whose result has a weight's shape, transposed or not.

    What lies there as argument, or is handed on, is not made.
    """
    shapes = {tuple(sorted(leaf.shape)) for leaf in jax.tree.leaves(base)}  # layers stacked
    shapes |= {tuple(sorted(leaf.shape[-2:])) for leaf in jax.tree.leaves(base) if leaf.ndim == 3}
    found = re.findall(r"= f32\[([\d,]+)\]\S* ([a-z-]+)\(", program)
    passed = ("parameter", "get-tuple-element", "bitcast", "dynamic-slice", "transpose", "fusion")
    return {
        (tuple(int(d) for d in dims.split(",")), name)
        for dims, name in found
        if name not in passed and tuple(sorted(int(d) for d in dims.split(","))) in shapes
    }


def test_no_gradient_of_a_frozen_weight_is_computed(models, run):
    """Neither a product nor a sum has a weight's shape, and no buffer is made for one."""
    assert weights_made(run.compiled().as_text(), models.base) == set()


@pytest.mark.slow
def test_gradients_of_weights_would_be_seen(models):
    """By the test above, where the base itself is trained."""
    whole = weights_made(Run(models, whole=True).compiled().as_text(), models.base)
    products = {shape for shape, name in whole if name == "dot"}
    assert {(48, 96), (96, 48), (48, 80), (80, 48), (48, 132)} <= products
    assert {name for _, name in whole} >= {"dot", "broadcast", "dynamic-update-slice"}


def test_memory_is_loras(models, run):
    """LoRA's bytes: parameters, gradient, moments. Arguments hold one base, and no reference."""
    trained, base, batch = (nbytes(tree) for tree in (models.lora, models.base, run.batch))
    adamw = make_optimizer(OptimizerConfig(), 10)
    state = init_state(run.put(models.lora), METHOD, 4, adamw, run.mesh)
    assert nbytes((state.params, state.opt_state)) == 3 * trained + 2 * 4  # two counts of steps
    memory = run.compiled().memory_analysis()
    # The gradient is the momentum of this optimiser.
    assert 2 * trained + base < memory.argument_size_in_bytes < 2 * trained + base + batch + 1024
    assert 2 * trained < memory.output_size_in_bytes < 2 * trained + 4096


def nbytes(tree):
    return sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(tree))
