"""Correlations of scores that are made by hand."""

import types

import numpy as np

from dignified_jax.analysis import correlation

MODELS = ("m0", "m1", "m2")


def test_a_single_question_has_no_interval():
    """There are no samples of questions then; the correlations over models are there."""
    values = {"A": np.array([0.0, 1.0, 2.0]), "E": np.array([1.0, 2.0, 4.0])}
    measures = {
        name: {
            "mfrm": types.SimpleNamespace(
                value=value, error=np.full(3, np.nan), cells=value[:, None]
            )
        }
        for name, value in values.items()
    }
    replicates = {name: np.zeros((0, 3)) for name in values}
    scores = types.SimpleNamespace(
        models=MODELS, dimensions=("A", "E"), measures=measures, replicates=replicates
    )
    found = correlation.correlate(scores)
    np.testing.assert_allclose(found.over_models, np.corrcoef([values["A"], values["E"]]))
    assert found.low.shape == found.high.shape == (2, 2)
    assert np.isnan([found.low, found.high]).all()
