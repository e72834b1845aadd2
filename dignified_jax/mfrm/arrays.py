"""Array operations of the model, by XLA or by NumPy: one code for both.

    from dignified_jax.mfrm import arrays as xp
    xp.where(x > 0.0, xp.exp(x), 0.0)

XLA compiles a fit for seconds before it runs it. That pays for large ratings, for many fits of one
shape, under `jax.vmap` and on accelerators; a single fit of usual size NumPy has done long before.
`xp.name` is `jax.numpy.name`, and inside `on_host(True)` it is `numpy.name`, in double precision.
What the two do not share is written here: loops, updates, products and a few functions.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import math
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.mfrm import products

# A tree of arrays: of JAX's, or of NumPy's on the host.
PyTree: TypeAlias = object
# Numbers of one array among several that a step of NumPy's works on.
IN_CACHE = 2**14
P = ParamSpec("P")
T = TypeVar("T")

_host: contextvars.ContextVar[bool] = contextvars.ContextVar("by NumPy", default=False)


def __getattr__(name: str) -> object:
    return getattr(np if _host.get() else jnp, name)


@contextlib.contextmanager
def on_host(host: bool) -> Iterator[None]:
    """Has the operations done by NumPy meanwhile, or by JAX; NumPy warns of nothing there."""
    token = _host.set(host)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        _host.reset(token)


def program(*static: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorator: one compiled program, with these arguments static; plain on the host."""

    def of(function: Callable[P, T]) -> Callable[P, T]:
        compiled = jax.jit(function, static_argnames=static)

        @functools.wraps(function)
        def run(*arguments: P.args, **options: P.kwargs) -> T:
            return (function if _host.get() else compiled)(*arguments, **options)

        return run

    return of


def traced(tree: PyTree) -> bool:
    """Tells whether any leaf is a tracer, whose values can't be read."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def to_host(tree: PyTree) -> PyTree:
    """Leaves as arrays of NumPy, floating ones in double precision."""

    def one(leaf: jax.typing.ArrayLike) -> np.ndarray:
        array = np.asarray(leaf)
        floating = jnp.issubdtype(array.dtype, jnp.floating)
        return array.astype(np.float64, copy=False) if floating else array

    return jax.tree.map(one, tree)


def at_once(function: Callable[P, T]) -> Callable[P, T]:
    """The function, done by NumPy unless an array among its positional arguments is traced."""

    @functools.wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> T:
        if traced((arguments, options)):
            return function(*arguments, **options)
        with on_host(True):
            return function(*to_host(arguments), **options)

    return run


def while_loop(
    unfinished: Callable[[T], jax.typing.ArrayLike], advance: Callable[[T], T], state: T
) -> T:
    """`jax.lax.while_loop`."""
    if not _host.get():
        return jax.lax.while_loop(unfinished, advance, state)
    while unfinished(state):
        state = advance(state)
    return state


def scan(body: Callable[[T, PyTree], tuple[T, PyTree]], carry: T, rows: PyTree) -> tuple[T, PyTree]:
    """`jax.lax.scan`."""
    if not _host.get():
        return jax.lax.scan(body, carry, rows)
    leaves, structure = jax.tree.flatten(rows)
    found = []
    for row in zip(*leaves, strict=True):
        carry, result = body(carry, jax.tree.unflatten(structure, row))
        found.append(result)
    return carry, jax.tree.map(lambda *each: np.stack(each), *found)


def each(function: Callable[..., T], rows: PyTree) -> T:
    """`jax.lax.map`."""
    return scan(lambda carry, row: (carry, function(row)), None, rows)[1]


def vmap(function: Callable[..., T]) -> Callable[..., T]:
    """`jax.vmap` over the leading axes of all arguments."""
    if not _host.get():
        return jax.vmap(function)
    return lambda *arguments: each(lambda row: function(*row), arguments)


def by_slices(function: Callable[..., T], arrays: tuple[jax.Array, ...], depth: int) -> T:
    """The function of arrays with a last axis in common, which no place of its results mixes.

    On the host of so many places at a time that `depth` numbers for each stay in a core's cache.
    """
    width, length = max(IN_CACHE // depth, 16), arrays[0].shape[-1]
    if not _host.get() or width >= length:
        return function(*arrays)
    starts = range(0, length, width)
    parts = [function(*(array[..., at : at + width] for array in arrays)) for at in starts]
    return jax.tree.map(lambda *each: np.concatenate(each, axis=-1), *parts)


def either(condition: jax.Array, one: Callable[[], T], other: Callable[[], T]) -> T:
    """`jax.lax.cond` of functions without arguments."""
    if not _host.get():
        return jax.lax.cond(condition, one, other)
    return one() if condition else other()


def zeros_of(function: Callable[[], T]) -> T | None:
    """Zeros in the shapes of a function's result, to start a loop that carries it.

    None on the host, whose loops need no such thing.
    """
    if _host.get():
        return None
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(function))


def floating_type(*given: np.dtype) -> np.dtype:
    """Type to compute in, from the floating ones given: double on the host and where enabled."""
    if _host.get():
        return np.dtype(np.float64)
    return jnp.result_type(*given, jnp.float32) if given else jnp.zeros(()).dtype


def put(array: jax.Array, where: object, values: jax.typing.ArrayLike) -> jax.Array:
    """The array with values in some places."""
    if not _host.get():
        return array.at[where].set(values)
    array = array.copy()
    array[where] = values
    return array


def add_at(array: jax.Array, where: object, values: jax.typing.ArrayLike) -> jax.Array:
    """The array with values added in some places, none of which is named twice."""
    if not _host.get():
        return array.at[where].add(values)
    array = array.copy()
    array[where] += values
    return array


def einsum(subscripts: str, *operands: jax.Array) -> jax.Array:
    """Sums of products, in the arrays' own precision."""
    if not _host.get():
        # Accelerators multiply float32 matrices in a shorter format unless told otherwise.
        return jnp.einsum(subscripts, *operands, precision="highest")
    plan = products.plan(subscripts)
    return np.einsum(subscripts, *operands, optimize=True) if plan is None else plan(*operands)


def leading_sum(array: jax.Array) -> jax.Array:
    """Sum over the first axis; by XLA as a product, on CPUs many times faster than its sums."""
    if _host.get():
        return array.sum(axis=0)
    flat = array.reshape(len(array), -1)
    return einsum("i,ia->a", jnp.ones(len(array), array.dtype), flat).reshape(array.shape[1:])


def tensordot(one: jax.Array, other: jax.Array, axes: int | list[list[int]]) -> jax.Array:
    """Likewise, over the given axes."""
    if not _host.get():
        return jnp.tensordot(one, other, axes, precision="highest")
    return np.tensordot(one, other, axes)


def inverse_root(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """L^-1 right, with L L' the matrix; NaN where it is not positive definite."""
    if not _host.get():
        factor = jax.lax.linalg.cholesky(matrix)
        return jax.lax.linalg.triangular_solve(factor, right, left_side=True, lower=True)
    try:
        return np.linalg.solve(np.linalg.cholesky(matrix), right)
    except np.linalg.LinAlgError:
        return np.full(right.shape, np.nan)


def solve(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """Solution of linear equations; of a singular matrix not finite."""
    if not _host.get():
        return jnp.linalg.solve(matrix, right)
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        return np.full(right.shape, np.nan)


def rsqrt(x: jax.Array) -> jax.Array:
    """1 / sqrt(x)."""
    return 1.0 / np.sqrt(x) if _host.get() else jax.lax.rsqrt(x)


def sigmoid(x: jax.Array) -> jax.Array:
    """1 / (1 + exp(-x))."""
    if not _host.get():
        return jax.nn.sigmoid(x)
    z = np.exp(-np.abs(x))
    return np.where(x >= 0.0, 1.0, z) / (1.0 + z)


def softmax(x: jax.Array) -> jax.Array:
    """exp(x) over its sum along the last axis."""
    if not _host.get():
        return jax.nn.softmax(x, axis=-1)
    weight = np.exp(x - x.max(axis=-1, keepdims=True))
    return weight / weight.sum(axis=-1, keepdims=True)


def logsumexp(x: jax.Array) -> jax.Array:
    """log of the sum of exp(x) along the first axis."""
    if not _host.get():
        return jax.nn.logsumexp(x, axis=0)
    highest = x.max(axis=0)
    return highest + np.log(np.exp(x - highest).sum(axis=0))


def least_from(x: jax.Array) -> jax.Array:
    """(N,) the smallest of each number and those after it."""
    if not _host.get():
        return jax.lax.cummin(x, reverse=True)
    return np.minimum.accumulate(x[::-1])[::-1]


def normal_tail(x: jax.Array) -> jax.Array:
    """P(X > x) of a standard normal X."""
    if not _host.get():
        return jax.scipy.stats.norm.sf(x)
    tail = np.vectorize(lambda value: 0.5 * math.erfc(value / math.sqrt(2.0)), otypes=[float])
    return tail(x)


def chi_square_tail(x: jax.Array, degrees: jax.Array) -> jax.Array:
    """P(X > x) of a chi-square X."""
    if not _host.get():
        return jax.scipy.stats.chi2.sf(x, degrees)
    from scipy import special  # late: it takes a while, and JAX has it

    return special.chdtrc(degrees, x)
