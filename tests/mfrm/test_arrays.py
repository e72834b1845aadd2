"""NumPy in the place of XLA: each operation against JAX's, or written out."""

import jax
import numpy as np
import pytest
import scipy.stats

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm import products

SIZES = dict(zip("abcdefgijklmnopqrst", range(2, 21), strict=True))
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "subscripts",
    ["rq,sq->rs", "rq,q->r", "mrq,mq->mr", "r,mrq->mq", "kpq,lpq->klp", "skl,st->sktl",
     "pq,rq->pr", "km,mpq->kpq", "ia,a->i", "mq,q->m", "k,kpq->pq", "pf,pr,rg->fg",
     "mi,ij,nj->mn", "sp,kpq->skq", "kpq,pq->kp"],
)  # fmt: skip
def test_sums_of_products(subscripts):
    inputs = subscripts.split("->")[0].split(",")
    operands = [RNG.normal(size=[SIZES[letter] for letter in name]) for name in inputs]
    with xp.on_host(True):
        found = xp.einsum(subscripts, *operands)
    np.testing.assert_allclose(found, np.einsum(subscripts, *operands), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "shapes", [((3, 9), (9, 40_001)), ((3, 70_001), (70_001, 4)), ((40_001, 5), (5, 6))]
)
def test_long_products_are_done_in_slices(shapes, monkeypatch):
    left, right = (RNG.normal(size=shape) for shape in shapes)
    np.testing.assert_allclose(products.multiply(left, right), left @ right, atol=1e-10)
    monkeypatch.setattr(products, "ONE_CORE", 2**40)
    assert (products.multiply(left, right) == left @ right).all()


def test_slices_of_the_last_axis():
    """Several on the host, where the last is shorter; one by JAX."""
    array, lengths = RNG.normal(size=(3, 1000)), []

    def double(a, b):
        lengths.append(a.shape[1])
        return a + b[0], (2 * a,)

    for host, number in ((True, 8), (False, 1)):
        lengths.clear()
        with xp.on_host(host):
            found, (twice,) = xp.by_slices(double, (array, array), xp.IN_CACHE // 128)
        assert len(lengths) == number and sum(lengths) == 1000
        np.testing.assert_allclose(found, array + array[0], rtol=1e-6)
        np.testing.assert_allclose(twice, 2 * array, rtol=1e-6)


def test_which_of_the_two_does_it():
    assert isinstance(xp.zeros(2), jax.Array)
    with xp.on_host(True):
        assert isinstance(xp.zeros(2), np.ndarray) and xp.zeros(2).dtype == np.float64
        with xp.on_host(False):
            assert isinstance(xp.zeros(2), jax.Array)
        assert not np.isfinite(xp.log(np.zeros(1)))  # and no warning, which would be an error
    with pytest.raises(ZeroDivisionError), xp.on_host(True):
        raise ZeroDivisionError
    assert isinstance(xp.zeros(2), jax.Array)


def test_at_once_is_numpy_unless_traced():
    double = xp.at_once(lambda tree: {"x": xp.exp(tree["x"])})
    single = np.float32([0.1])
    assert double({"x": jax.numpy.asarray(single)})["x"] == np.exp(single.astype(np.float64))
    assert isinstance(jax.jit(double)({"x": single})["x"], jax.Array)


def test_loops_and_updates():
    rows = (np.arange(6.0).reshape(3, 2), np.arange(3.0))

    def step(total, row):
        return total + row[0].sum(), {"first": row[0] * row[1]}

    found = {}
    for host in (True, False):
        with xp.on_host(host):
            start = xp.asarray(np.zeros((3, 2)))
            found[host] = (
                xp.scan(step, xp.asarray(0.0), rows),
                xp.each(lambda row: row[1] + 1.0, rows),
                xp.vmap(lambda a, b: a * b)(*rows),
                xp.while_loop(lambda n: n < 5, lambda n: n + 2, xp.asarray(0)),
                xp.put(start, ([0, 2], [1, 0]), np.ones(2)),
                xp.add_at(start, slice(1), 2.0),
                xp.either(xp.asarray(True), lambda: 1.0, lambda: 2.0),
                xp.softmax(rows[0]), xp.logsumexp(rows[0]), xp.sigmoid(rows[0] - 2.0),
                xp.least_from(np.array([3.0, 1.0, 2.0])), xp.rsqrt(rows[1] + 1.0),
            )  # fmt: skip
            assert not np.asarray(start).any()  # updates leave what they are made from
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *found.values())


def test_linear_algebra_and_tails():
    root = np.tril(RNG.normal(size=(4, 4))) + 3.0 * np.eye(4)
    with xp.on_host(True):
        np.testing.assert_allclose(xp.inverse_root(root @ root.T, root), np.eye(4), atol=1e-12)
        assert np.isnan(xp.inverse_root(-np.eye(2), np.eye(2))).all()
        assert np.isnan(xp.solve(np.zeros((2, 2)), np.ones(2))).all()
        x = np.array([-1.5, 0.0, 3.0])
        np.testing.assert_allclose(xp.normal_tail(x), scipy.stats.norm.sf(x), rtol=1e-12)
        tail = xp.chi_square_tail(np.array([0.5, 9.0]), np.array([1.0, 4.0]))
        np.testing.assert_allclose(tail, scipy.stats.chi2.sf([0.5, 9.0], [1, 4]), rtol=1e-12)
