"""Speed of `mfrm.fit` against other ways to the same estimates.

    python benchmarks/mfrm.py                          # both sizes, every method: minutes
    python benchmarks/mfrm.py --shape 10,1500,3,3 --repeats 5
    python benchmarks/mfrm.py --scaling 1e5,1e6,1e7    # cost and memory by number of ratings

One process, one data set a shape, the least of --repeats runs (of SciPy two, of the others one).
All minimise the same penalised likelihood (precisions 1, one free intercept: center "grand"),
except laplace and quadrature, and statsmodels, which is unpenalised and runs where its dense
matrix is small enough (--statsmodels-entries). "max. diff." is the largest difference of a score
from the float64 `mfrm.fit`, both centred. `mfrm.fit` is timed from arrays on the device to all
estimates AND standard errors, as a compiled program and (NumPy) as it is called without one; the
others without standard errors, and without building their design matrices.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from dignified_jax import mfrm
from dignified_jax.mfrm.fit import MOST_ON_HOST

METHODS = ("ridge", "laplace", "quadrature")
NEWTON_TOLERANCE = 1e-8


def simulate(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """(M, Q, J, I) bool ratings of effects with standard deviation 1, model by model."""
    models, questions, judges, items = shape
    rng = np.random.default_rng(seed)
    question = rng.normal(size=questions)
    hard = rng.normal(size=judges)[:, None] + rng.normal(size=items)
    ratings = np.empty(shape, bool)
    for model in range(models):
        quality = rng.normal() + rng.normal(size=questions) - question
        logit = quality[:, None, None].astype(np.float32) - hard.astype(np.float32)
        uniform = rng.random(logit.shape, np.float32)
        ratings[model] = uniform < 1 / (1 + np.exp(-logit))
    return ratings


def design(shape: tuple[int, ...]) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """Columns theta, question, judge, rubric, intercept; and which of them are penalised."""
    models, questions, judges, items = shape
    index = np.indices(shape).reshape(4, -1)
    sizes = [models * questions, questions, judges, items, 1]
    starts = np.cumsum([0, *sizes])
    columns = np.stack(
        [
            index[0] * questions + index[1],
            starts[1] + index[1],
            starts[2] + index[2],
            starts[3] + index[3],
            np.full(index.shape[1], starts[4]),
        ],
        axis=1,
    )
    rows = len(columns)
    values = np.tile([1.0, -1.0, -1.0, -1.0, 1.0], rows)
    matrix = scipy.sparse.csr_matrix(
        (values, columns.ravel(), np.arange(0, 5 * rows + 1, 5)), shape=(rows, starts[-1])
    )
    return matrix, (np.arange(starts[-1]) < starts[4]).astype(float)


def scores(coefficients: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    models, questions = shape[:2]
    return coefficients[: models * questions].reshape(models, questions).mean(axis=1)


def sparse_newton(matrix, y, penalty) -> np.ndarray:
    """Newton's method with a sparse direct factorisation, from 0."""
    x = np.zeros(matrix.shape[1])
    transposed = matrix.T.tocsr()
    for _ in range(50):
        p = 1 / (1 + np.exp(-(matrix @ x)))
        gradient = transposed @ (y - p) - penalty * x
        hessian = transposed @ scipy.sparse.diags(p * (1 - p)) @ matrix
        hessian = (hessian + scipy.sparse.diags(penalty)).tocsc()
        # Columns stand in the order that fills in least; finding one takes minutes.
        factor = scipy.sparse.linalg.splu(
            hessian,
            permc_spec="NATURAL",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        step = factor.solve(gradient)
        x = x + step
        if np.abs(step).max() < NEWTON_TOLERANCE:
            break
    return x


def scikit_learn(matrix, y) -> np.ndarray:
    """newton-cg, with its own free intercept in place of the last column."""
    from sklearn.linear_model import LogisticRegression

    estimator = LogisticRegression(C=1.0, solver="newton-cg", tol=NEWTON_TOLERANCE, max_iter=1000)
    return estimator.fit(matrix[:, :-1], y).coef_[0]


def stats_models(matrix, y) -> None:
    """Dense Fisher scoring of main effects without a prior: a smaller model, timed for scale."""
    import statsmodels.api

    statsmodels.api.GLM(y, matrix, family=statsmodels.api.families.Binomial()).fit()


def measure(run: Callable, repeats: int) -> tuple[float, object]:
    """Seconds of the fastest of `repeats` runs, which other work slows least; the last result."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def compiled(successes: jax.Array, method: str):
    """(program, seconds to compile) of a fit of complete ratings."""
    program = jax.jit(lambda y, n: mfrm.fit(y, n, method=method, center="grand"))
    start = time.perf_counter()
    program = program.lower(successes, successes).compile()
    return program, time.perf_counter() - start


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def compare(shape: tuple[int, ...], repeats: int, most_entries: int) -> None:
    ratings = simulate(shape)
    print(f"\n{'x'.join(map(str, shape))}: {ratings.size:,} ratings")
    rows: list[float] = []
    with jax.enable_x64(True):
        exact = np.asarray(mfrm.fit(ratings, method="ridge", center="grand").score)

    def centred(values):
        return values - values.mean()

    def add(name: str, seconds: float, note: str, found=None) -> None:
        error = np.abs(centred(found) - centred(exact)).max() if found is not None else math.nan
        rows.append(seconds)
        ratio = seconds / rows[0]
        print(f"{name:32}{seconds:10.4f}{ratio:8.1f}{error:12.1e}  {note}", flush=True)

    print(f"{'':32}{'seconds':>10}{'ratio':>8}{'max. diff.':>12}")

    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            y, n = jnp.asarray(ratings, dtype), jnp.ones(shape, dtype)
            for method in METHODS:
                program, compile_seconds = compiled(y, method)
                seconds, fit = measure(lambda p=program, y=y, n=n: p(y, n), repeats)
                note = f"compile {compile_seconds:.1f} s, {int(fit.iterations)} iterations"
                found = np.asarray(fit.score) if method == "ridge" else None
                add(f"mfrm {method} {np.dtype(dtype).name}", seconds, note, found)
            del y, n
    if ratings.size <= MOST_ON_HOST:
        for method in METHODS:

            def plain(method=method):
                return mfrm.fit(ratings, method=method, center="grand", compiled=False)

            seconds, fit = measure(plain, repeats)
            found = np.asarray(fit.score) if method == "ridge" else None
            add(f"mfrm {method} NumPy", seconds, f"{int(fit.iterations)} iterations", found)
    matrix, penalty = design(shape)
    y = ratings.ravel().astype(float)
    seconds, found = measure(lambda: sparse_newton(matrix, y, penalty), 2)
    add("scipy sparse Newton", seconds, "two runs", scores(found, shape))
    seconds, found = measure(lambda: scikit_learn(matrix, y), 1)
    add("scikit-learn newton-cg", seconds, "one run", scores(found, shape))
    columns = sum(shape) - 3
    if columns * y.size <= most_entries * 1e6:
        of_models = np.repeat(np.eye(shape[0]), y.size // shape[0], axis=0)
        # The first level of each other facet is the reference.
        first = np.cumsum([shape[0] * shape[1], shape[1], shape[2]])
        others = [c for c in range(first[0], matrix.shape[1] - 1) if c not in first]
        main = np.concatenate([of_models, matrix[:, others].toarray()], axis=1)
        seconds, _ = measure(lambda: stats_models(main, y), 1)
        add("statsmodels GLM, main effects", seconds, f"{main.shape[1]} columns, one run")
    else:
        print(f"statsmodels left out: {columns} dense columns of {y.size:,} ratings")


def scaling(counts: list[float]) -> None:
    """Ridge fits of 20 models, 4 judges and 12 items, with as many questions as it takes."""
    print(f"\n{'ratings':>13}{'seconds':>10}{'ns / rating':>13}{'iterations':>12}{'peak GiB':>10}")
    for count in counts:
        questions = max(2, round(count / (20 * 4 * 12)))
        ratings = simulate((20, questions, 4, 12))
        y = jnp.asarray(ratings, jnp.float32)
        n = jnp.ones_like(y)
        del ratings
        program = jax.jit(lambda y, n: mfrm.fit(y, n, method="ridge")).lower(y, n).compile()
        seconds, fit = measure(lambda p=program, y=y, n=n: p(y, n), 3 if count < 3e7 else 1)
        print(
            f"{y.size:13,}{seconds:10.3f}{seconds / y.size * 1e9:13.1f}"
            f"{int(fit.iterations):12}{peak_gib():10.2f}",
            flush=True,
        )
        del y, n, fit


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shape",
        action="append",
        metavar="M,Q,J,I",
        help="models, questions, judges, items; may be repeated (default 10,1500,3,3 20,5000,4,12)",
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs, of which the least is taken")
    parser.add_argument(
        "--statsmodels-entries",
        type=int,
        default=250,
        help="most entries of statsmodels' matrix, in millions (default 250: 2 GB)",
    )
    parser.add_argument("--scaling", help="numbers of ratings, in place of the comparison")
    arguments = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}, numpy {np.__version__}")
    if arguments.scaling:
        scaling([float(count) for count in arguments.scaling.split(",")])
        return
    for text in arguments.shape or ["10,1500,3,3", "20,5000,4,12"]:
        shape = tuple(int(size) for size in text.split(","))
        if len(shape) != 4 or min(shape) < 1:
            parser.error(f"--shape must be four positive numbers M,Q,J,I, found {text!r}")
        compare(shape, arguments.repeats, arguments.statsmodels_entries)


if __name__ == "__main__":
    main()
