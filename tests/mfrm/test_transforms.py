"""jit, vmap and sharding give what a plain call gives."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from dignified_jax import mfrm
from tests.mfrm.conftest import SHAPE, assert_fits_agree
from tests.mfrm.dense import simulate

pytestmark = pytest.mark.wiring


@pytest.mark.parametrize("method", ["ridge", "laplace"])
def test_jit_equals_eager(plan, method):
    eager = mfrm.fit(*plan, method=method)
    program = jax.jit(mfrm.fit, static_argnames="method")
    jitted = program(*map(np.float32, plan), method=method)
    assert_fits_agree(jitted, eager, atol=1e-6)
    assert jitted.iterations == eager.iterations and jitted.status == eager.status
    assert jax.tree.structure(jitted) == jax.tree.structure(eager)


@pytest.mark.parametrize("method", ["ridge", pytest.param("laplace", marks=pytest.mark.slow)])
def test_vmap_over_four_dimensions_equals_a_loop(method):
    plans = [simulate(SHAPE, s, missing=0.2, most_trials=3, spread=0.5 + 0.4 * s) for s in range(4)]
    stacked = [np.stack(arrays) for arrays in zip(*plans, strict=True)]
    if method == "ridge":  # each with priors of its own
        priors = [mfrm.Precision(r, 1.0, 2.0 * r, 0.5) for r in (0.3, 1.0, 2.0, 5.0)]
        stacked.append(jax.tree.map(lambda *leaves: jnp.array(leaves), *priors))
    else:
        priors = [None] * 4

    def fit(y, n, precision=None):
        return mfrm.fit(y, n, method=method, precision=precision)

    mapped = jax.vmap(fit)(*stacked)
    loop = [fit(*plan, prior) for plan, prior in zip(plans, priors, strict=True)]
    for index, one in enumerate(loop):
        assert_fits_agree(jax.tree.map(lambda leaf, i=index: leaf[i], mapped), one, atol=2e-5)
    # They converge after different numbers of iterations, and each stops at its own.
    assert mapped.iterations.tolist() == [int(one.iterations) for one in loop]
    assert len(set(mapped.iterations.tolist())) > 1
    assert mapped.message.count("\n") == 3


@pytest.mark.parametrize(
    "kind", [pytest.param(AxisType.Auto, marks=pytest.mark.slow), AxisType.Explicit]
)
def test_sharded_over_questions_equals_single(plan, kind):
    mesh = jax.make_mesh((8,), ("question",), axis_types=(kind,))
    sharding = NamedSharding(mesh, PartitionSpec(None, "question"))
    arrays = [jax.device_put(array.astype(np.float32), sharding) for array in plan]
    if kind == AxisType.Explicit:
        with jax.set_mesh(mesh):
            fit = mfrm.fit(*arrays, method="laplace")
    else:
        fit = mfrm.fit(*arrays, method="laplace")
        assert fit.theta.sharding.spec == PartitionSpec(None, "question")
    assert_fits_agree(fit, mfrm.fit(*plan, method="laplace"), atol=1e-5)


def test_a_long_question_axis_traces():
    """The square of this length does not fit an int32."""
    ratings = jax.ShapeDtypeStruct((2, 100_000, 2, 1), np.float32)
    for method in ("ridge", "laplace"):
        fit = jax.eval_shape(lambda y, m=method: mfrm.fit(y, method=m), ratings)
        assert fit.quality.shape == (2, 100_000) and fit.score_covariance.shape == (2, 2)


def test_import_needs_jax_and_numpy_only():
    code = (
        "import sys, dignified_jax.mfrm\n"
        "heavy = {'flax', 'pandas', 'transformers', 'datasets', 'optax', 'orbax', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "print(sorted(m for m in sys.modules if m.startswith('dignified_jax.')\n"
        "             and m.split('.')[1] not in {'mfrm', 'agreement', 'console', 'files'}))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.split("\n")[:2] == ["[]", "[]"]
