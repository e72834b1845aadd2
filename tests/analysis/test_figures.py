"""Names from data in figures: drawn as they stand, and all of them in the legend."""

import numpy as np
import pytest

from dignified_jax.analysis import figures

pytestmark = pytest.mark.wiring
ODD = "_asks $5_{ or $10"


def texts(figure):
    """What a figure says, as matplotlib reads it: no mathematics, no escapes."""
    figure.draw_without_rendering()
    axes = figure.axes[0]
    found = [axes.title, *axes.get_xticklabels(), *axes.get_yticklabels()]
    found += [text for legend in figure.legends for text in legend.get_texts()]
    return [each.get_text().replace(r"\$", "$").strip() for each in found]


def test_dollar_signs_and_underscores_are_letters():
    y = np.array([0.0, 1.0])
    series = [figures.Series(name, [0, 1], y) for name in (ODD, "b")]
    assert texts(figures.curves({ODD: series}, "x", "y")).count(ODD) == 2
    ring = {ODD: np.array([1.0, 2.0, 3.0]), "b": np.array([2.0, 1.0, 3.0])}
    assert texts(figures.radar(ring, [ODD, "A", "T"], "y")).count(ODD) == 2
    assert texts(figures.heatmaps({ODD: (np.eye(2), [ODD, "A"])}, "y")).count(ODD) == 3
    assert ODD in texts(figures.ranking({ODD: 1.0, "a": 2.0}, "a", "x"))
