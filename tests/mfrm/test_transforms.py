"""Compiled programs, vmap and sharding give what NumPy gives, which other tests check."""

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
from tests.mfrm.dense_ordinal import simulate as simulate_ordinal

pytestmark = pytest.mark.wiring


@pytest.mark.parametrize("method", ["ridge", "laplace"])
def test_jit_equals_numpy(plan, method):
    eager = mfrm.fit(*plan, method=method, tolerance=5e-5)
    program = jax.jit(mfrm.fit, static_argnames="method")
    jitted = program(*map(np.float32, plan), method=method)
    assert_fits_agree(jitted, eager, atol=5e-6)
    assert jitted.iterations == eager.iterations and jitted.status == eager.status
    assert jax.tree.structure(jitted) == jax.tree.structure(eager)
    assert isinstance(jitted.score, jax.Array) and isinstance(eager.score, np.ndarray)


@pytest.mark.parametrize(
    ("model", "method", "center"),
    [
        ("rating_scale", "quadrature", "model"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("binomial", "ridge", "zero"),
                ("binomial", "laplace", "model"),
                ("binomial", "quadrature", "model"),
                ("partial_credit", "ridge", "grand"),
                ("partial_credit", "laplace", "model"),
                ("partial_credit", "quadrature", "model"),
            )
        ),
    ],
)
def test_compiled_equals_numpy_in_double_precision(model, method, center):
    """With a model of the highest scores only, an item's unused category and an anchored judge."""
    counts = simulate_ordinal(SHAPE, 4, 0, missing=0.2, most=2)
    counts[1] = counts[1].sum(axis=-1, keepdims=True) * (np.arange(4) == 3)
    counts[:, :, :, 1, 1] = 0
    given = (counts,)
    if model == "binomial":
        given = (counts[..., 2:].sum(axis=-1), counts.sum(axis=-1))
    options = {"model": model, "method": method, "center": center}
    options["anchors"] = {"judge": np.array([0.3, np.nan, np.nan])}
    plain = mfrm.fit(*given, **options)
    with jax.enable_x64(True):
        compiled = mfrm.fit(*given, **options, compiled=True)
    assert plain.converged and plain.status == compiled.status
    for (path, one), other in zip(
        jax.tree_util.tree_leaves_with_path(plain), jax.tree.leaves(compiled), strict=True
    ):
        if not str(path[-1]).endswith(("largest_change", "iterations")):
            np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-8, err_msg=str(path))


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
        return mfrm.fit(y, n, method=method, precision=precision, compiled=True)

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
