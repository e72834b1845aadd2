"""Tables of an ordinal report recomputed from single ratings, by the manuals' formulas."""

import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.report.report import report
from tests.mfrm.dense_ordinal import simulate

pytestmark = pytest.mark.wiring

FACETS = ("model", "question", "judge", "rubric")
SCORES = np.array([1, 2, 3, 4])


@pytest.fixture(scope="module")
def made():
    """(tables by name, fit, rows with all that the formulas need)."""
    counts = simulate((4, 9, 3, 3), 4, 2, missing=0.3, by_item=False)
    labels = {n: tuple(range(s)) for n, s in zip(FACETS, counts.shape, strict=False)}
    ratings = mfrm.OrdinalRatings(counts, labels, tuple(SCORES.tolist()))
    fit = mfrm.fit(counts, model="rating_scale", method="laplace")
    about = mfrm.diagnose(fit, counts, categories=ratings.categories)
    tables = {table.name: table for table in report(fit, about, ratings).tables}
    place = np.repeat(np.argwhere(counts), counts[counts > 0], axis=0)
    m, q, j, i, k = place.T
    x = fit.quality[m, q] - fit.question[q] - fit.judge[j] - fit.rubric[i]
    weight = np.exp(np.arange(4) * x[:, None] - np.append(0, np.cumsum(fit.step[0])))
    p = weight / weight.sum(axis=1, keepdims=True)
    expected = p @ np.arange(4)
    away = np.arange(4) - expected[:, None]
    rows = {"model": m, "question": q, "judge": j, "rubric": i, "k": k, "x": x, "p": p}
    rows |= {"expected": expected, "residual": k - expected}
    rows |= {"variance": (p * away**2).sum(axis=1), "fourth": (p * away**4).sum(axis=1)}
    return tables, fit, rows


def standardised(square, variance):
    """Wright & Masters' t, by Wilson & Hilferty's cube root."""
    q = np.sqrt(variance)
    return (square ** (1 / 3) - 1) * 3 / q + q / 3


@pytest.mark.parametrize("facet", ["model", "judge", "rubric"])
def test_facet_measures(made, facet):
    """FACETS, Table 7."""
    tables, fit, rows = made
    columns = tables[facet].columns
    own = fit.score if facet == "model" else getattr(fit, facet)
    means = {name: np.mean(getattr(fit, name)) for name in ("judge", "rubric", "question")}
    for level in range(len(own)):
        part = {name: values[rows[facet] == level] for name, values in rows.items()}
        w, r2 = part["variance"], part["residual"] ** 2
        count = w.size
        infit, outfit = r2.sum() / w.sum(), (r2 / w).mean()
        place = np.mean(fit.score) - sum(means.values())
        place += own[level] - np.mean(fit.score) if facet == "model" else means[facet] - own[level]
        weight = np.exp(np.arange(4) * place - np.append(0, np.cumsum(fit.step[0])))
        score = part["k"] + 1.0
        wanted = {
            "ratings": count,
            "score": score.sum(),
            "observed": score.mean(),
            "expected": part["expected"].mean() + 1,
            "fair": weight @ SCORES / weight.sum(),
            "measure": own[level],
            "infit": infit,
            "outfit": outfit,
            "infit_z": standardised(infit, (part["fourth"] - w**2).sum() / w.sum() ** 2),
            "outfit_z": standardised(outfit, (part["fourth"] / w**2 - 1).sum() / count**2),
            "correlation": np.corrcoef(score, part["x"])[0, 1],
        }
        for name, value in wanted.items():
            np.testing.assert_allclose(columns[name][level], value, rtol=1e-6, err_msg=name)


def test_facet_summary(made):
    """FACETS, Table 7, of these levels as the population: adjusted deviation, separation."""
    tables, fit, _ = made
    columns = tables["facets"].columns
    row = columns["facet"].index("model")
    error = np.mean(np.square(fit.standard_error.score))
    spread = np.var(fit.score)
    true = np.sqrt(max(spread - error, 0))
    wanted = {
        "sd": np.sqrt(spread),
        "adj_sd": true,
        "rmse": np.sqrt(error),
        "separation": true / np.sqrt(error),
        "reliability": 1 - error / spread,
        "strata": (4 * true / np.sqrt(error) + 1) / 3,
    }
    for name, value in wanted.items():
        np.testing.assert_allclose(columns[name][row], value, rtol=1e-6, err_msg=name)


def test_data_summary(made):
    """FACETS, Table 5."""
    tables, _, rows = made
    columns = tables["residuals"].columns
    standard = rows["residual"] / np.sqrt(rows["variance"])
    values = {"score": rows["k"] + 1.0, "expected": rows["expected"] + 1}
    values |= {"residual": rows["residual"], "standardized": standard}
    for place, name in enumerate(columns["of"]):
        wanted = [values[name].mean(), values[name].std(), values[name].std(ddof=1)]
        found = [columns[key][place] for key in ("mean", "sd_population", "sd_sample")]
        np.testing.assert_allclose(found, wanted, atol=1e-8, err_msg=name)
    assert f"Pearson chi-square {(standard**2).sum():.1f}" in tables["residuals"].notes[0]


def test_category_statistics(made):
    """FACETS, Table 8; average measures, and mean squares by their expectation as Winsteps' are."""
    tables, fit, rows = made
    columns = tables["categories"].columns
    for k in range(4):
        inside, p = rows["k"] == k, rows["p"][:, k]
        square = (k - rows["expected"]) ** 2
        wanted = {
            "count": inside.sum(),
            "percent": 100 * inside.mean(),
            "cumulative": 100 * (rows["k"] <= k).mean(),
            "average_measure": rows["x"][inside].mean(),
            "expected_measure": p @ rows["x"] / p.sum(),
            "outfit": (square / rows["variance"])[inside].sum() / (p @ (square / rows["variance"])),
        }
        if k:
            wanted["threshold"] = fit.step[0, k - 1]
        for name, value in wanted.items():
            np.testing.assert_allclose(columns[name][k], value, rtol=1e-6, err_msg=name)


def test_bias(made):
    """FACETS, Tables 11 to 13: counts, averages, and biases that make residuals sum to zero."""
    tables, fit, rows = made
    columns = tables["bias_judge_model"].columns
    for row in range(tables["bias_judge_model"].rows):
        judge, model, bias = (columns[name][row] for name in ("judge", "model", "bias"))
        inside = (rows["judge"] == judge) & (rows["model"] == model)
        weight = np.exp(
            np.arange(4) * (rows["x"][inside, None] + bias) - np.append(0, np.cumsum(fit.step[0]))
        )
        p = weight / weight.sum(axis=1, keepdims=True)
        expected = p @ np.arange(4)
        np.testing.assert_allclose(expected.sum(), rows["k"][inside].sum(), atol=1e-6)
        information = (p * (np.arange(4) - expected[:, None]) ** 2).sum()
        np.testing.assert_allclose(columns["se"][row], 1 / np.sqrt(information), rtol=1e-6)
        np.testing.assert_allclose(columns["observed"][row], rows["k"][inside].mean() + 1)
        assert columns["ratings"][row] == inside.sum()


def test_unexpected_responses(made):
    """FACETS, Table 4."""
    tables, _, rows = made
    standard = np.abs(rows["residual"] / np.sqrt(rows["variance"]))
    found = np.abs(tables["unexpected"].columns["standardized"])
    np.testing.assert_allclose(found, np.sort(standard[standard >= 3])[::-1], rtol=1e-6)
