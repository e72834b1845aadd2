"""The marginal likelihood and posterior means of a small plan by brute force, in NumPy.

Plain (not adaptive) Gauss-Hermite rules of many points for every question and answer, no
elimination and no derivatives: these come from finite differences.
"""

import numpy as np

POINTS = 40


class Marginal:
    """Of (M, Q, J, I) ratings, at parameters (M intercepts, J - 1 judges and I - 1 items against
    the last, log p_theta, log p_question)."""

    def __init__(self, successes, trials):
        self.y, self.n = successes.astype(float), trials.astype(float)
        self.models, self.questions, self.judges, self.items = successes.shape
        self.nodes, weights = np.polynomial.hermite_e.hermegauss(POINTS)
        self.weights = weights / weights.sum()
        # Only these combinations of ratings matter, at every logit of a cell.
        self.size = self.models + self.judges + self.items

    def parts(self, x):
        intercept, judge, item = np.split(x[:-2], [self.models, self.models + self.judges - 1])
        judge, item = (np.append(v, -v.sum()) for v in (judge, item))
        return intercept, judge, item, *np.exp(-0.5 * x[-2:])

    def pack(self, fit):
        """The parameters of a `Fit`."""
        logs = [np.log(float(fit.precision.theta)), np.log(float(fit.precision.question))]
        parts = (fit.intercept, fit.judge[:-1], fit.rubric[:-1], np.array(logs))
        return np.concatenate([np.asarray(part, float) for part in parts])

    def _points(self, x):
        """log joint (Q, u), cell posteriors (M, Q, u, theta), theta and question there."""
        intercept, judge, item, theta_sd, question_sd = self.parts(x)
        question, theta = question_sd * self.nodes, theta_sd * self.nodes
        cell = intercept[:, None, None] + question[:, None] + theta  # (M, u, theta)
        logit = cell[..., None, None] - judge[:, None] - item
        total = np.logaddexp(0, logit)
        value = np.einsum("mqji,mutji->mqut", self.y, logit)
        value -= np.einsum("mqji,mutji->mqut", self.n, total)
        density = np.exp(value - value.max(axis=(2, 3), keepdims=True)) * self.weights
        given = np.log(density.sum(axis=3)) + value.max(axis=(2, 3))[..., None]  # (M, Q, u)
        return given, density / density.sum(axis=3, keepdims=True), theta, question

    def log_likelihood(self, x):
        given = self._points(x)[0].sum(axis=0) + np.log(self.weights)
        top = given.max(axis=1)
        return (top + np.log(np.exp(given - top[:, None]).sum(axis=1))).sum()

    def effects(self, x):
        """What a `Fit` reports of theta, quality, question and score: means; and covariances of
        (theta of all models, question), one matrix a question."""
        given, cell, theta, question = self._points(x)
        weight = given.sum(axis=0) + np.log(self.weights)
        weight = np.exp(weight - weight.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        inner = cell @ theta  # (M, Q, u)
        variance = cell @ theta**2 - inner**2
        both = np.concatenate([inner, np.broadcast_to(question, (1, *weight.shape))])
        mean = (weight * both).sum(axis=2)  # (M + 1, Q)
        apart = both - mean[..., None]
        covariance = np.einsum("qu,mqu,nqu->qmn", weight, apart, apart)
        for model in range(self.models):
            covariance[:, model, model] += (weight * variance[model]).sum(axis=1)
        return mean, covariance

    def reported(self, x):
        """Dictionary of estimates by the names of `Fit`, as functions of the parameters."""
        intercept, judge, item, *_ = self.parts(x)
        mean, _ = self.effects(x)
        shift = mean[-1].mean()
        quality = intercept[:, None] + mean[:-1] + shift
        return {
            # Effects add up to the logit, difficulties have their sign turned.
            "theta": mean[:-1],
            "quality": quality,
            "question": shift - mean[-1],
            "judge": judge,
            "rubric": item,
            "intercept": intercept,
            "score": quality.mean(axis=1),
        }

    def conditional_variance(self, x):
        """Variances of the same with the parameters known; of the score its covariance matrix."""
        _, covariance = self.effects(x)
        models, questions = self.models, self.questions
        sizes = {name: value.size for name, value in self.reported(x).items()}
        # Linear maps from all (question, effect) pairs.
        theta = np.zeros((models, questions, questions, models + 1))
        centre = np.zeros((questions, questions, models + 1))
        for q in range(questions):
            centre[q, q, -1] = -1
            for m in range(models):
                theta[m, q, q, m] = 1
        centre[:, :, -1] += 1 / questions
        quality = theta.copy()
        quality[..., -1] += 1 / questions
        outputs = {"theta": theta, "quality": quality, "question": centre}
        outputs["score"] = quality.mean(axis=1)
        result = {name: np.zeros((size, size)) for name, size in sizes.items()}
        for name, rows in outputs.items():
            rows = rows.reshape(-1, questions, models + 1)
            result[name] = np.einsum("aqm,qmn,bqn->ab", rows, covariance, rows)
        return result


def gradient(function, x, step=1e-3):
    """Central differences of a function of a vector, of order step^4; (..., P)."""
    rows = []
    for unit in np.eye(len(x)) * step:
        near = function(x + unit) - function(x - unit)
        far = function(x + 2 * unit) - function(x - 2 * unit)
        rows.append((8 * near - far) / (12 * step))
    return np.stack(rows, axis=-1)
