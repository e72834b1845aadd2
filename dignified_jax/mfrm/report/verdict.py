"""The verdict: what the tables say, in plain sentences, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dignified_jax.console.labels import clip
from dignified_jax.mfrm.diagnostics.diagnose import Diagnostics
from dignified_jax.mfrm.diagnostics.interactions import Interactions
from dignified_jax.mfrm.report.tables import Labels
from dignified_jax.mfrm.result import Fit

# A severity is told from this many logits and standard errors on.
HARSH, SURELY = 0.5, 3.0
# An infit mean square is out of line by this factor from the overall one, with |z| of 2 or more.
MISFIT = 1.3
DISCOVERY = 0.05
SHOWN = 4


def verdict(
    fit: Fit,
    diagnostics: Diagnostics,
    labels: Labels,
    bias: Mapping[tuple[str, str], Interactions],
) -> list[str]:
    """Sentences on the models' separation, harsh and mild judges, misfit and bias."""
    return [
        _separation(diagnostics),
        *_severity(fit, labels),
        *_misfit(diagnostics, labels),
        *(_bias(found, labels, pair) for pair, found in bias.items()),
    ]


def _separation(diagnostics: Diagnostics) -> str:
    """Says whether the scale tells the models apart."""
    about = diagnostics.model.separation
    if int(about.levels) < 2:
        return "models: fewer than two have a finite score, so nothing is compared"
    reliability, strata, p = (float(v) for v in (about.reliability, about.strata, about.p))
    if not p < DISCOVERY:
        return (
            f"models: their scores do not differ more than by chance (p {p:.2f}); add questions "
            "or judges before ranking them"
        )
    clear = "are well told apart" if reliability >= 0.9 else (
        "are told apart in part" if reliability >= 0.7 else "are hardly told apart"
    )  # fmt: skip
    return f"models {clear}: reliability {reliability:.2f}, about {strata:.0f} distinct groups"


def _severity(fit: Fit, labels: Labels) -> list[str]:
    """The judges who are surely harsher or milder than the mean judge."""
    severity, error = np.asarray(fit.judge), np.asarray(fit.standard_error.judge)
    if severity.size < 2:
        return []
    with np.errstate(invalid="ignore"):
        sure = (np.abs(severity) >= HARSH) & (np.abs(severity) >= SURELY * error)
    found = []
    for word, side in (("harsh", severity > 0), ("mild", severity < 0)):
        chosen = np.flatnonzero(sure & side)
        chosen = chosen[np.argsort(-np.abs(severity[chosen]))]
        if chosen.size:
            found.append(
                f"{word} judges: "
                + _listed(
                    [f"{clip(labels['judge'][j])} ({severity[j]:+.2f} logits)" for j in chosen]
                )
            )
    return found or ["judges: none is surely harsher or milder than the others by half a logit"]


def _misfit(diagnostics: Diagnostics, labels: Labels) -> list[str]:
    """Judges and items whose ratings are noisier or more regular than the rest."""
    overall = float(diagnostics.overall.infit)
    found = []
    for facet in ("judge", "rubric"):
        statistics = getattr(diagnostics, facet).statistics
        ratio = np.asarray(statistics.infit) / overall
        surprising = np.abs(np.asarray(statistics.infit_zstd)) >= 2.0
        for word, side, cure in (
            ("erratic", ratio > MISFIT, "look at their unexpected responses, or leave them out"),
            ("too regular", ratio < 1 / MISFIT, "they may use few scores, or copy others"),
        ):
            chosen = np.flatnonzero(surprising & side)
            if chosen.size:
                texts = [
                    f"{clip(labels[facet][i])} (infit {ratio[i] * overall:.2f})" for i in chosen
                ]
                found.append(f"{word} {facet}s: {_listed(texts)}; {cure}")
    return found


def _bias(found: Interactions, labels: Labels, pair: tuple[str, str]) -> str:
    """The pairs that depart from the sum of their parts."""
    q, z = np.asarray(found.q), np.asarray(found.z)
    rows, columns = np.nonzero(q <= DISCOVERY)
    if not rows.size:
        return f"bias of {pair[0]} by {pair[1]}: none beyond chance"
    order = np.argsort(-np.abs(z[rows, columns]), kind="stable")
    texts = [
        f"{clip(labels[pair[0]][r])} {'favours' if z[r, c] > 0 else 'disfavours'} "
        f"{clip(labels[pair[1]][c])}"
        for r, c in zip(rows[order], columns[order], strict=True)
    ]
    return (
        f"bias of {pair[0]} by {pair[1]}, {rows.size} pairs: {_listed(texts)}; see whether scores "
        "change without them (--leave-one-out)"
    )


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more
