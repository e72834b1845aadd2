"""Means, differences and worst dimensions of made-up scores, by hand."""

import math

import pytest

from dignified_jax.comparison import results
from tests.comparison.conftest import score

pytestmark = pytest.mark.wiring

T2 = 4.3026527297  # 97.5% point of Student's t with 2 degrees of freedom


def test_measures_of_one_run():
    found = results.measures(score((0.8, 0.6), loss=(0.7, 0.4), kl=0.25))
    assert found == {
        **{"worst_accuracy": 0.6, "worst_loss": 0.7, "mean_accuracy": 0.7, "kl": 0.25},
        **{"accuracy/A": 0.8, "accuracy/E": 0.6, "loss/A": 0.7, "loss/E": 0.4},
        **{"margin/A": 1.6, "margin/E": 1.2},
    }


def test_the_worst_of_equal_accuracies_is_that_of_the_greater_loss():
    assert results.ScoredRun("x", 0, score((0.5, 0.6))).worst == "A"
    assert results.ScoredRun("x", 0, score((0.5, 0.5), loss=(0.6, 0.7))).worst == "E"


def test_the_worst_is_taken_in_each_run_not_of_the_means(made_up):
    """0.7, 0.6 and 0.7; the means over seeds are 0.7 and 0.8."""
    found = made_up.means["lagdpo"]["worst_accuracy"]
    assert found.mean == pytest.approx(2.0 / 3)
    assert found.half == pytest.approx(T2 * math.sqrt(0.02 / 3 / 2 / 3), rel=1e-9)
    assert made_up.means["lagdpo"]["accuracy/A"].mean == pytest.approx(0.7)
    assert made_up.worst == {"lagdpo": ("E", "A", "A"), "soup": ("A", "A", "A")}


def test_differences_are_paired_by_seed(made_up):
    """Worst accuracy 0.2, 0.1, 0.1; KL 0, 0.1, -0.1."""
    assert list(made_up.paired) == ["soup"]
    worst = made_up.paired["soup"]["worst_accuracy"]
    assert worst.mean == pytest.approx(0.4 / 3)
    assert worst.half == pytest.approx(T2 * math.sqrt(0.02 / 3 / 2 / 3), rel=1e-9)
    assert worst.clear == (worst.mean > worst.half)
    kl = made_up.paired["soup"]["kl"]
    assert kl.mean == pytest.approx(0.0, abs=1e-15)
    assert kl.half == pytest.approx(T2 * 0.1 / math.sqrt(3), rel=1e-9)
    assert kl.p == pytest.approx(1.0)


def test_the_baseline_and_the_pairs_are_those_of_the_test_rows(made_up):
    assert made_up.longer == {"A": 0.5, "E": 0.6}
    assert made_up.pairs == {"A": 10, "E": 11}
    assert made_up.seeds == (0, 1, 2)


def test_measures_of_a_group_are_the_means_of_its_dimensions(made_up):
    found = results.measures(score((0.8, 0.6)), {"Both": ("A", "T", "E")})
    assert found["accuracy/Both"] == pytest.approx(0.7)  # T has no test pair
    assert found["worst_accuracy"] == 0.6 and found["mean_accuracy"] == pytest.approx(0.7)
    groups = {"Both": ("A", "E"), "Absent": ("T",)}
    whole = results.summarise(made_up.records, "lagdpo", groups)
    assert whole.groups == {"Both": ("A", "E")}
    assert whole.means["soup"]["accuracy/Both"].mean == pytest.approx((0.7 + 0.7 + 0.75) / 3)
    assert whole.means["soup"]["accuracy/A"] == made_up.means["soup"]["accuracy/A"]
