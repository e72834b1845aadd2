"""Figures of scores, for Plotly, which is imported only here and only when a figure is drawn.

Colours are those of Okabe & Ito (2008), which readers with any colour vision tell apart. Text and
grid have none: the page gives them its own, light or dark.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from dignified_jax.console.labels import printable, shorten
from dignified_jax.evaluation.scores.calibration import Calibration
from dignified_jax.evaluation.scores.results import Scores, correlations, delta
from dignified_jax.evaluation.scores.tables import shift_table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C5A8C", "#999933")
FACETS = {"model": "models", "judge": "judges", "rubric": "items", "question": "questions"}
NAMES = "category"
"""Kind of an axis of names; left to itself Plotly takes "1" or "2024-05" for a number or a date."""
MOST_NAMES = 14
MOST_POINTS = 60
WIDEST_NAME = 28
MOST_MODELS = 24  # of bars, radar and changes, in the order of the tables
# One for each round through the colours.
PATTERNS, DASHES = ("", "/", "x"), ("solid", "dash", "dot")
SYMBOLS = ("circle", "square", "diamond")


def figures(scores: Scores, baseline: str) -> dict[str, Figure]:
    """Returns title -> figure; those that the scores have too little for are left out."""
    count = len(scores.models)
    part = f" (the first {MOST_MODELS} of {count} models)" if count > MOST_MODELS else ""
    made = {f"Scores, with standard errors{part}": bars(scores)}
    if len(scores.dimensions) > 2:
        made[f"Radar of the scores{part}"] = radar(scores)
    if count > 1:
        made[f"Change from {baseline}, with 95% intervals{part}"] = changes(scores, baseline)
    if len(scores.dimensions) > 1:
        made["Correlations between dimensions, over responses"] = heatmap(scores)
    for name, found in scores.calibrations.dimensions.items():
        made[f"Wright map of {name}"] = wright_map(found)
    made["Calibration shift: raw and calibrated measures"] = calibration_shift(scores)
    return made


def bars(scores: Scores) -> Figure:
    """MFRM scores of every dimension and group."""
    import plotly.graph_objects as go

    names = (*scores.dimensions, *scores.groups)
    figure = go.Figure()
    for place, model in enumerate(_names(scores.models)[:MOST_MODELS]):
        measures = [scores.measures[name]["mfrm"] for name in names]
        figure.add_bar(
            name=model,
            x=_names(names),
            y=[_known(m.value[place]) for m in measures],
            error_y={"type": "data", "array": [_known(m.error[place]) for m in measures]},
            marker={
                "color": COLOURS[place % len(COLOURS)],
                "pattern": {"shape": PATTERNS[place // len(COLOURS)]},
            },
        )
    figure.update_xaxes(type=NAMES)
    return _laid_out(figure, yaxis_title="logits")


def radar(scores: Scores) -> Figure:
    """MFRM scores of the dimensions, a line a model."""
    import plotly.graph_objects as go

    names, shown = list(scores.dimensions), _names(scores.dimensions)
    figure = go.Figure()
    values = np.array([scores.measures[name]["mfrm"].value for name in names])
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    room = 0.15 * max(high - low, 0.5)
    for place, model in enumerate(_names(scores.models)[:MOST_MODELS]):
        line = [_known(v) for v in values[:, place]]
        figure.add_scatterpolar(
            name=model,
            r=[*line, line[0]],
            theta=[*shown, shown[0]],
            line={
                "color": COLOURS[place % len(COLOURS)],
                "dash": DASHES[place // len(COLOURS)],
            },
        )
    figure.update_polars(angularaxis={"type": NAMES})
    figure.update_polars(radialaxis={"range": [float(low - room), float(high + room)]})
    return _laid_out(figure)


def changes(scores: Scores, baseline: str) -> Figure:
    """Changes from one model to each other one."""
    import plotly.graph_objects as go

    base = scores.models.index(baseline)
    names = (*scores.dimensions, *scores.groups)
    figure = go.Figure()
    for place, model in enumerate(_names(scores.models)[:MOST_MODELS]):
        if place == base:
            continue
        found = [delta(scores, name, base, place) for name in names]
        figure.add_scatter(
            name=model,
            x=_names(names),
            y=[_known(d.change) for d in found],
            error_y={"type": "data", "array": [_known(1.96 * d.error) for d in found]},
            mode="markers",
            marker={
                "size": 10,
                "color": COLOURS[place % len(COLOURS)],
                "symbol": SYMBOLS[place // len(COLOURS)],
            },
        )
    figure.update_xaxes(type=NAMES)
    return _laid_out(figure, yaxis_title="logits", scattermode="group")


def heatmap(scores: Scores) -> Figure:
    """Correlations between dimensions."""
    import plotly.graph_objects as go

    over, error, _ = correlations(scores)
    names = _names(scores.dimensions)
    texts = [
        [
            "" if not np.isfinite(value) else f"{value:.2f}" + (f" \u00b1 {e:.2f}" if e > 0 else "")
            for value, e in zip(*row, strict=True)
        ]
        for row in zip(over, error, strict=True)
    ]
    figure = go.Figure(
        go.Heatmap(
            x=names,
            y=names,
            z=[[_known(v) for v in row] for row in over],
            text=texts,
            texttemplate="%{text}",
            zmin=-1,
            zmax=1,
            colorscale="RdBu",
        )
    )
    figure.update_xaxes(type=NAMES)
    figure.update_yaxes(autorange="reversed", type=NAMES)
    return _laid_out(figure)


def wright_map(found: Calibration) -> Figure:
    """All facets of a dimension on one scale: better models, harder judges, items and questions.

    Many levels have their names where one points at them; very many are drawn as a density.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    names = {facet: "score" if facet == "model" else facet for facet in FACETS}
    every = np.concatenate([np.asarray(getattr(found.fit, name), float) for name in names.values()])
    span = float(np.ptp(every[np.isfinite(every)])) if np.isfinite(every).any() else 0.0
    for place, (facet, title) in enumerate(FACETS.items()):
        name = names[facet]
        values = np.asarray(getattr(found.fit, name), float)
        errors = np.asarray(getattr(found.fit.standard_error, name), float)
        if facet != "model" and values.size < 2:
            continue
        colour = COLOURS[place]
        if values.size > MOST_POINTS:
            kept = values[np.isfinite(values)]
            figure.add_violin(
                name=title, x=[title] * kept.size, y=kept.tolist(), line_color=colour, points=False
            )
            continue
        labels = _names(found.labels[facet])
        figure.add_scatter(
            name=title,
            x=[title] * values.size,
            y=[_known(v) for v in values],
            error_y={
                "type": "data",
                "array": [_known(e) for e in errors],
                "visible": values.size <= MOST_NAMES,
            },
            text=labels,
            mode="markers" if values.size > MOST_NAMES else "markers+text",
            textposition=label_sides(values, 0.06 * span),
            cliponaxis=False,
            marker={"size": 9, "color": colour},
        )
    figure.update_xaxes(range=[-0.6, len(figure.data) - 0.4])
    return _laid_out(figure, yaxis_title="logits", showlegend=False)


def label_sides(values: np.ndarray, close: float) -> list[str]:
    """Sides for names of levels: right, but left where the one below is close and on the right."""
    sides = ["middle right"] * values.size
    order = [place for place in np.argsort(values, kind="stable") if np.isfinite(values[place])]
    for below, place in itertools.pairwise(order):
        if values[place] - values[below] < close and sides[below] == "middle right":
            sides[place] = "middle left"
    return sides


def calibration_shift(scores: Scores) -> Figure:
    """The logit of a level's share of 1s against its calibrated measure, for each facet."""
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=2, subplot_titles=list(FACETS.values()))
    fits = scores.calibrations.dimensions
    for at, (name, found) in enumerate(zip(_names(tuple(fits)), fits.values(), strict=True)):
        for place, (facet, pairs) in enumerate(shift_table(found).items()):
            known = np.isfinite(pairs).all(axis=1)
            labels = [
                label for label, k in zip(_names(found.labels[facet]), known, strict=True) if k
            ]
            figure.add_scatter(
                row=1 + place // 2,
                col=1 + place % 2,
                name=name,
                legendgroup=name,
                showlegend=place == 0,
                x=pairs[known, 0].tolist(),
                y=pairs[known, 1].tolist(),
                text=labels,
                mode="markers",
                marker={
                    "color": COLOURS[at % len(COLOURS)],
                    "size": 4 if len(pairs) > MOST_NAMES else 9,
                    "opacity": 0.7,
                },
            )
    figure.update_xaxes(title_text="raw, logits")
    figure.update_yaxes(title_text="calibrated, logits")
    return _laid_out(figure, height=640)


def _names(labels: tuple[object, ...]) -> list[str]:
    """Labels as text that no reader takes for markup."""
    texts = shorten([printable(str(label)) for label in labels], WIDEST_NAME)
    return [text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for text in texts]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _laid_out(figure: Figure, **layout: object) -> Figure:
    figure.update_layout(
        template="none",
        colorway=COLOURS,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 60, "r": 20, "t": 30, "b": 50},
        legend={"orientation": "h", "y": -0.15},
        font={"family": "system-ui, sans-serif", "size": 13},
        **layout,
    )
    return figure
