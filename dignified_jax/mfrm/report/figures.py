"""Parts that all figures share: colours, names of facets, blank axes, saving. Needs matplotlib.

White background and the colours of Okabe & Ito (2008), which readers with any colour vision tell
apart; facets differ by marker as well, for print without colour. matplotlib is imported only when a
figure is made.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dignified_jax.console.labels import printable
from dignified_jax.mfrm.report.names import font_families

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"model": "#0072B2", "judge": "#D55E00", "rubric": "#009E73", "question": "#8C5A8C"}
MARKERS = {"model": "o", "judge": "s", "rubric": "^", "question": "."}
# Of further facets, by their place.
MORE_COLOURS, MORE_MARKERS = ("#56B4E9", "#E69F00", "#CC79A7"), "DvP"
INK, FAINT, GRID = "#222222", "#BBBBBB", "#E8E8E8"
PLURALS = {"model": "models", "judge": "judges", "rubric": "rubric items", "question": "questions"}
DPI = 160
# Comments hold the texts that are drawn as paths, and would let a label end the comment.
COMMENTS = re.compile(r"<!--.*?-->", re.DOTALL)


def plural(facet: str, names: Mapping[str, str] | None = None) -> str:
    """A facet's heading: its plural, or the name that the user gave it."""
    name = (names or {}).get(facet, facet)
    return (
        PLURALS[facet]
        if name == facet and facet in PLURALS
        else printable(name).replace("$", r"\$")
    )


def blank(
    width: float, height: float, rows: int, columns: int, **options: object
) -> tuple[Figure, list[Axes]]:
    """A figure in inches and its axes, row by row; `options` as of `Figure.subplots`."""
    from matplotlib.figure import Figure

    # Without pyplot: no global state, no display, no backend to choose.
    figure = Figure((width, height), dpi=DPI, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for one in axes:
        one.set_facecolor("white")
        one.tick_params(colors=INK)
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
    return figure, axes


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a PNG file."""
    _choose_fonts(figure)
    figure.savefig(path, facecolor="white", format="png")


def as_svg(figure: Figure) -> str:
    """An <svg> element that needs no fonts, scripts or other files, and holds no comments."""
    from matplotlib import rc_context

    _choose_fonts(figure)
    file = io.StringIO()
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "0"}):
        figure.savefig(file, format="svg", metadata={"Date": None}, facecolor="white")
    text = COMMENTS.sub("", file.getvalue())
    return text[text.index("<svg") :]


def _choose_fonts(figure: Figure) -> None:
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    families, _ = font_families("".join(text.get_text() for text in texts))
    for text in texts:
        text.set_fontfamily(families)


def finite_range(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """The finite values with a margin."""
    every = np.concatenate([value[np.isfinite(value)] for value in values] or [np.zeros(1)])
    low, high = (every.min(), every.max()) if every.size else (0.0, 0.0)
    margin = 0.08 * (high - low) + 0.3
    return float(low - margin), float(high + margin)
