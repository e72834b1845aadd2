"""Independent reference for ordinal ratings: one row a category, dense matrices, float64."""

import numpy as np

from tests.mfrm.dense import DenseFit, maps


def simulate(shape, categories, seed, *, missing=0.0, most=1, spread=1.0, by_item=True):
    """(M, Q, J, I, K) counts of a random plan; all of the first question is rated."""
    models, questions, judges, items = shape
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=(models, 1)) + rng.normal(size=(models, questions))
    logit = spread * (
        (quality - rng.normal(size=questions))[..., None, None]
        - rng.normal(size=judges)[:, None]
        - rng.normal(size=items)
    )
    step = np.sort(rng.normal(size=(items if by_item else 1, categories - 1)))
    step = step - step.mean(axis=1, keepdims=True)
    potential = logit[..., None] * np.arange(categories)
    potential[..., 1:] -= np.cumsum(step, axis=1)
    p = np.exp(potential - potential.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    trials = rng.integers(1, most + 1, size=shape)
    trials[:, 1:] *= rng.random((models, questions - 1, judges, items)) >= missing
    return rng.multinomial(trials, p)


def expand(counts, model, center):
    """Effects' rows, intercept and quality rows, and the (rating, category, effect) potentials."""
    shape, categories = counts.shape[:4], counts.shape[4]
    items = shape[3]
    scales = items if model == "partial_credit" else 1
    rows, intercept, quality, design = maps(shape, center)
    main = design.shape[1]
    size = main + scales * (categories - 1)

    def widen(matrix):
        empty = np.zeros((*matrix.shape[:-1], size - main))
        return np.concatenate([matrix, empty], axis=-1)

    rows = {name: widen(matrix) for name, matrix in rows.items()}
    rows["step"] = np.eye(size)[main:].reshape(scales, categories - 1, size)
    numbers = np.arange(categories)
    potential = numbers[:, None] * widen(design)[:, None]
    scale = np.tile(np.arange(items) % scales, len(design) // items)
    for k in range(1, categories):
        potential[:, k:] -= rows["step"][scale, None, k - 1]
    return rows, widen(intercept), widen(quality), potential


def dense_ordinal(counts, model, center, precision):
    """Newton's method on the full Karush-Kuhn-Tucker system of the multinomial likelihood."""
    shape, categories = counts.shape[:4], counts.shape[4]
    rows, intercept, quality, potential = expand(counts, model, center)
    y = counts.reshape(-1, categories).astype(float)
    n = y.sum(axis=1)
    size = potential.shape[-1]
    penalty = sum(
        value * rows[facet].sum(axis=0)
        for facet, value in zip(("theta", "judge", "rubric", "question"), precision, strict=True)
    )
    constraints = np.concatenate(
        [
            [rows[facet].sum(axis=0) for facet in ("judge", "rubric", "question")],
            rows["step"].sum(axis=1),
        ]
    )

    def likelihood(x):
        u = potential @ x
        log_p = u - np.logaddexp.reduce(u, axis=1, keepdims=True)
        return log_p, (y * log_p).sum()

    def system(x):
        p = np.exp(likelihood(x)[0])
        gradient = np.einsum("rk,rkf->f", y - n[:, None] * p, potential) - penalty * x
        mean = np.einsum("rk,rkf->rf", p, potential)
        centred = (potential - mean[:, None]).reshape(-1, size)
        hessian = centred.T @ ((n[:, None] * p).reshape(-1, 1) * centred) + np.diag(penalty)
        zero = np.zeros((len(constraints),) * 2)
        return gradient, np.block([[hessian, constraints.T], [constraints, zero]])

    def objective(x):
        return likelihood(x)[1] - 0.5 * (penalty * x * x).sum()

    x = np.zeros(size)
    for _ in range(200):
        gradient, kkt = system(x)
        step = np.linalg.solve(kkt, np.concatenate([gradient, np.zeros(len(constraints))]))[:size]
        scale = 1.0
        while np.abs(step).max() > 1e-3 and objective(x + scale * step) < objective(x):
            scale /= 2
        x = x + scale * step
        if np.abs(step).max() < 1e-12:
            break
    covariance = np.linalg.inv(system(x)[1])[:size, :size]
    outputs = {
        "theta": rows["theta"].reshape(*shape[:2], -1),
        "quality": quality,
        "judge": rows["judge"],
        "rubric": rows["rubric"],
        "question": rows["question"],
        "intercept": intercept,
        "score": quality.mean(axis=1),
        "step": rows["step"],
    }
    score = outputs["score"]
    return DenseFit(
        estimate={name: matrix @ x for name, matrix in outputs.items()},
        standard_error={
            name: np.sqrt(np.maximum(((matrix @ covariance) * matrix).sum(axis=-1), 0))
            for name, matrix in outputs.items()
        },
        score_covariance=score @ covariance @ score.T,
        log_likelihood=likelihood(x)[1],
    )


def laplace_log_likelihood(counts, model, fit):
    """Laplace's marginal log-likelihood at a fit's fixed effects and precisions, its own mode."""
    rows, _, _, potential = expand(counts, model, "model")
    y = counts.reshape(-1, counts.shape[4]).astype(float)
    n = y.sum(axis=1)
    names = ("intercept", "judge", "rubric", "step")
    offset = potential @ sum(
        np.tensordot(np.asarray(getattr(fit, name), float), rows[name], np.ndim(getattr(fit, name)))
        for name in names
    )
    models, questions = counts.shape[:2]
    random = potential @ np.concatenate([rows["theta"], rows["question"]]).T
    precision = np.repeat(
        [float(fit.precision.theta), float(fit.precision.question)], [models * questions, questions]
    )
    mode = np.zeros(random.shape[-1])
    for _ in range(100):
        u = offset + random @ mode
        log_p = u - np.logaddexp.reduce(u, axis=1, keepdims=True)
        p = np.exp(log_p)
        centred = random - np.einsum("rk,rkf->rf", p, random)[:, None]
        hessian = np.einsum("rk,rkf,rkg->fg", n[:, None] * p, centred, centred, optimize=True)
        hessian = hessian + np.diag(precision)
        gradient = np.einsum("rk,rkf->f", y - n[:, None] * p, random) - precision * mode
        step = np.linalg.solve(hessian, gradient)
        mode = mode + step
        if np.abs(step).max() < 1e-12:
            break
    value = (y * log_p).sum() - 0.5 * (precision * mode**2).sum()
    return value + 0.5 * np.log(precision).sum() - 0.5 * np.linalg.slogdet(hessian)[1]
