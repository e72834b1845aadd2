"""What is said of packed rows, by hand; and how full best-fit packing makes them."""

import numpy as np
import pytest

from dignified_jax.data import BatchStream, packing_report, share_shape
from dignified_jax.data.examples import TokenizedExample
from dignified_jax.data.packing import best_fit


def stream(lengths, **options):
    """Examples of those lengths in order: one token of prompt, the rest golden, no reject."""
    examples = [
        TokenizedExample(np.ones(1, np.int32), (np.ones(n - 1, np.int32), *(None,) * 4), 0)
        for n in lengths
    ]
    sizes = {"row_length": 10, "shuffle": False}
    return BatchStream(examples, **sizes | options)


def test_rows_of_batches_by_hand():
    """Batches fill (6 + 4) (5), then (8) (8) (8): 2 and 3 rows, of which 2 and 4 are computed."""
    s = stream([6, 4, 5, 8, 8, 8], batch_size=3, rows_multiple=2)
    assert s.useful_share == (15 + 24) / (2 * 10 + 4 * 10)
    assert packing_report.describe(s) == (
        "rows of 10 tokens, 65.0% useful, 35.0% padding; 2 to 3 rows a batch in 1 to 2 "
        "accumulation steps of 2 rows; the smallest batch leaves 2 of 4 rows empty, 2 of them "
        "skipped"
    )
    one = stream([10], batch_size=1)
    assert packing_report.describe(one) == (
        "rows of 10 tokens, 100.0% useful, 0.0% padding; 1 row a batch in 1 accumulation step of "
        "1 row"
    )


def test_shapes_by_hand():
    train, validation, test = (stream(lengths, batch_size=2) for lengths in ([9, 9], [5], [9, 9]))
    apart = packing_report.shapes({"train": train, "validation": validation, "test": test})
    assert apart == (
        "batches have one shape in training (2 rows of at most 8 response tokens and 2 segments), "
        "2 in evaluation (1 row of at most 8 response tokens and 2 segments; "
        "2 rows of at most 8 response tokens and 2 segments)"
    )
    validation, test = share_shape([validation, test])
    together = packing_report.shapes({"train": train, "validation": validation, "test": test})
    assert "1 in evaluation (2 rows of" in together


def example_lengths(count):
    """Lognormal tokens with sigma 0.4: prompts of mean 240, golden and 4 rejects of mean 290."""
    rng = np.random.default_rng(0)

    def draw(mean, size):
        return rng.lognormal(np.log(mean) - 0.4**2 / 2, 0.4, size).round().astype(int)

    return draw(240, count) + draw(290, (count, 5)).sum(axis=1)


@pytest.mark.parametrize(
    ("row_length", "batch_size", "waste", "least_waste"),
    [
        # Measured; the last is that of the fewest rows that could hold so many tokens.
        (4096, 16, 0.162, 0.064),
        (4096, 64, 0.123, 0.018),
        (4096, 6400, 0.100, 0.000),
        (8192, 16, 0.173, 0.171),
        (8192, 64, 0.075, 0.040),
        (8192, 6400, 0.039, 0.001),
    ],
)
def test_waste_of_best_fit(row_length, batch_size, waste, least_waste):
    """Small batches waste what their last rows leave; 4096 holds two examples and seldom three."""
    lengths = example_lengths(6400)
    batches = lengths.reshape(-1, batch_size)
    used = sum(len(best_fit(batch.tolist(), row_length)) for batch in batches)
    fewest = sum(-(-batch.sum() // row_length) for batch in batches)
    assert 1 - lengths.sum() / (used * row_length) == pytest.approx(waste, abs=2e-3)
    assert 1 - lengths.sum() / (fewest * row_length) == pytest.approx(least_waste, abs=2e-3)
