"""Independent references in NumPy, float64: explicit designs, dense matrices, no elimination."""

import dataclasses

import numpy as np
import scipy.optimize


def simulate(shape, seed, *, missing=0.0, most_trials=1, spread=1.0):
    """(successes, trials) of a random plan, from effects with standard deviation `spread`.

    Every cell of the first question keeps its ratings, so that the plan is connected.
    """
    models, questions, judges, items = shape
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=(models, 1)) + rng.normal(size=(models, questions))
    hard = rng.normal(size=judges)[:, None] + rng.normal(size=items)
    logit = spread * (quality - rng.normal(size=questions))[..., None, None] - spread * hard
    trials = rng.integers(1, most_trials + 1, size=shape)
    trials[:, 1:] *= rng.random((models, questions - 1, judges, items)) >= missing
    return rng.binomial(trials, 1 / (1 + np.exp(-logit))), trials


@dataclasses.dataclass
class DenseFit:
    """Estimates and standard errors by name, as `mfrm.Fit` has them."""

    estimate: dict
    standard_error: dict
    score_covariance: np.ndarray
    log_likelihood: float
    judge_covariance: np.ndarray | None = None


def maps(shape, center):
    """Rows of the identity for each effect, the design of all ratings, intercept rows of models."""
    models, questions, judges, items = shape
    count = {"model": models, "grand": 1, "zero": 0}[center]
    sizes = {
        "intercept": count,
        "theta": models * questions,
        "judge": judges,
        "rubric": items,
        "question": questions,
    }
    identity = np.eye(sum(sizes.values()))
    ends = np.cumsum(list(sizes.values()))
    rows = dict(zip(sizes, np.split(identity, ends[:-1]), strict=True))
    intercept = {
        "model": rows["intercept"],
        "grand": np.tile(rows["intercept"], (models, 1)),
        "zero": np.zeros((models, len(identity))),
    }[center]
    quality = intercept[:, None] + rows["theta"].reshape(models, questions, -1)
    design = (
        (quality - rows["question"])[:, :, None, None] - rows["judge"][:, None] - rows["rubric"]
    )
    return rows, intercept, quality, design.reshape(-1, len(identity))


def dense_ridge(successes, trials, center, precision, anchors=None):
    """Newton's method on the full Karush-Kuhn-Tucker system, with step halving."""
    shape = successes.shape
    rows, intercept, quality, design = maps(shape, center)
    size = design.shape[1]
    y, n = successes.ravel().astype(float), trials.ravel().astype(float)
    penalty = sum(
        value * rows[facet].sum(axis=0)
        for facet, value in zip(("theta", "judge", "rubric", "question"), precision, strict=True)
    )
    constraints, targets = [], []
    for facet in ("judge", "rubric", "question"):
        values = (anchors or {}).get(facet)
        if values is None:
            constraints.append(rows[facet].sum(axis=0))
            targets.append(0.0)
        else:
            penalty = penalty * (1 - rows[facet][~np.isnan(values)].sum(axis=0))
            constraints.extend(rows[facet][~np.isnan(values)])
            targets.extend(values[~np.isnan(values)])
    constraints, targets = np.array(constraints), np.array(targets)

    def objective(x):
        logit = design @ x
        return (y * logit - n * np.logaddexp(0, logit)).sum() - 0.5 * (penalty * x * x).sum()

    def system(x):
        logit = design @ x
        # Both tails without cancellation.
        p, q = 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(logit))
        hessian = design.T @ ((n * p * q)[:, None] * design) + np.diag(penalty)
        zero = np.zeros((len(constraints),) * 2)
        kkt = np.block([[hessian, constraints.T], [constraints, zero]])
        return design.T @ (y * q - (n - y) * p) - penalty * x, kkt

    x = constraints.T @ np.linalg.solve(constraints @ constraints.T, targets)
    for _ in range(200):
        gradient, kkt = system(x)
        step = np.linalg.solve(kkt, np.concatenate([gradient, 0 * targets]))[:size]
        scale = 1.0
        while np.abs(step).max() > 1e-3 and objective(x + scale * step) < objective(x):
            scale /= 2
        x = x + scale * step
        if np.abs(step).max() < 1e-12:
            break
    covariance = np.linalg.inv(system(x)[1])[:size, :size]
    logit = design @ x
    outputs = {
        "theta": rows["theta"].reshape(*shape[:2], -1),
        "quality": quality,
        "judge": rows["judge"],
        "rubric": rows["rubric"],
        "question": rows["question"],
        "intercept": intercept,
        "score": quality.mean(axis=1),
    }
    score = outputs["score"]
    return DenseFit(
        estimate={name: rows @ x for name, rows in outputs.items()},
        standard_error={
            name: np.sqrt(np.maximum(((rows @ covariance) * rows).sum(axis=-1), 0))
            for name, rows in outputs.items()
        },
        score_covariance=score @ covariance @ score.T,
        judge_covariance=rows["judge"] @ covariance @ rows["judge"].T,
        log_likelihood=(y * logit - n * np.logaddexp(0, logit)).sum(),
    )


def dense_laplace(successes, trials):
    """Laplace's marginal likelihood by dense determinants, maximised by SciPy without gradients
    of ours: (log-likelihood, intercept, judge, rubric, sd of theta, sd of questions)."""
    models, questions, judges, items = successes.shape
    rows, _, _, design = maps(successes.shape, "model")
    fixed = design @ np.concatenate(
        [rows["intercept"].T, _contrasts(rows["judge"]), _contrasts(rows["rubric"])], axis=1
    )
    random = design @ np.concatenate([rows["theta"], rows["question"]]).T
    y, n = successes.ravel().astype(float), trials.ravel().astype(float)
    mode = np.zeros(random.shape[1])

    def negative(parameters):
        nonlocal mode
        beta, log_sd = parameters[:-2], parameters[-2:]
        precision = np.repeat(np.exp(-2 * log_sd), [models * questions, questions])
        for _ in range(50):
            logit = fixed @ beta + random @ mode
            p = 1 / (1 + np.exp(-logit))
            hessian = random.T @ ((n * p * (1 - p))[:, None] * random) + np.diag(precision)
            step = np.linalg.solve(hessian, random.T @ (y - n * p) - precision * mode)
            mode = mode + step
            if np.abs(step).max() < 1e-11:
                break
        logit = fixed @ beta + random @ mode
        p = 1 / (1 + np.exp(-logit))
        hessian = random.T @ ((n * p * (1 - p))[:, None] * random) + np.diag(precision)
        value = (y * logit - n * np.logaddexp(0, logit)).sum()
        value -= 0.5 * (precision * mode**2).sum() - 0.5 * np.log(precision).sum()
        return -(value - 0.5 * np.linalg.slogdet(hessian)[1])

    start = np.zeros(fixed.shape[1] + 2)
    found = scipy.optimize.minimize(negative, start, method="BFGS", options={"gtol": 1e-5})
    beta, log_sd = found.x[:-2], found.x[-2:]
    judge = _contrasts(np.eye(judges)) @ beta[models : models + judges - 1]
    rubric = _contrasts(np.eye(items)) @ beta[models + judges - 1 :]
    return -found.fun, beta[:models], judge, rubric, *np.exp(log_sd)


def _contrasts(rows):
    """(.., level) rows to columns that move a level against the last, so that they sum to zero."""
    return (rows[:-1] - rows[-1]).T
