"""Figures of curves, readable on paper, in grey and on a dark page.

Every curve has a colour (Okabe and Ito's, which colour-blind readers tell apart), a marker and a
line style of its own; the white background is part of the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from dignified_jax.console.labels import printable

INK, GRID = "#222222", "#e3e3e3"
_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F"),
)
_THIN_SPACE = "\u200a"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h")
_LINES = ("-", (0, (6, 2)), (0, (6, 2, 1, 2)), (0, (1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))


def curve_style(number: int) -> dict[str, Any]:
    """Returns the keyword arguments of the curve of a number, for `Axes.plot`."""
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _LINES[number % len(_LINES)],
    }


def plain(text: str) -> str:
    """Returns a name from data as text that is drawn as it stands: dollar signs begin no formula,
    and a legend leaves no name out for its underscore."""
    text = printable(text).replace("$", r"\$")
    return f"{_THIN_SPACE}{text}" if text.startswith("_") else text


def make_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of a size in inches."""
    # The object's own interface: no window, no pyplot, no state that others share.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white", layout="constrained")


def frame(axes: Axes) -> None:
    """Sets explicit colours, whatever the user's own style sheet says."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.set_facecolor("white")
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(side in ("left", "bottom"))


def legend(figure: Figure) -> None:
    """Adds a legend of the curves of all panels beside them, where it hides nothing."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        found |= {label: h for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        *(found.values(), found.keys()),
        **{"loc": "outside right upper", "handlelength": 3.0},
        **{"fontsize": 9, "frameon": False, "labelcolor": INK},
    )
