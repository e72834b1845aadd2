"""The verdict: what the tables say, in plain sentences, and what to do about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from dignified_jax.console.labels import clip
from dignified_jax.mfrm.diagnostics.diagnose import Diagnostics, shown_measures
from dignified_jax.mfrm.diagnostics.dimensionality import Dimensionality
from dignified_jax.mfrm.diagnostics.fit_statistics import FitStatistics
from dignified_jax.mfrm.diagnostics.interactions import Interactions
from dignified_jax.mfrm.diagnostics.judges.drift import Drift
from dignified_jax.mfrm.diagnostics.judges.effects import JudgeEffects
from dignified_jax.mfrm.diagnostics.judges.groups import Construct, GroupComparison
from dignified_jax.mfrm.diagnostics.separation import Separation
from dignified_jax.mfrm.report.facet_names import Names, word
from dignified_jax.mfrm.report.names import level_names
from dignified_jax.mfrm.report.tables import Labels
from dignified_jax.mfrm.result import ALL_FAILURES, ALL_SUCCESSES, Fit

# A severity is told from this many logits and standard errors on.
HARSH, SURELY = 0.5, 3.0
# An infit mean square is out of line by this factor from the overall one, with |z| of 2 or more.
MISFIT = 1.3
DISCOVERY = 0.05
# Groups of judges measure the same where the correlation may be this; an interval as wide as VAGUE
# tells nothing.
SAME, VAGUE = 0.95, 0.8
SHOWN = 4
# A first contrast of this many variables is worth a look (Linacre), if it is beyond chance.
CONTRAST = 2.0


@dataclasses.dataclass(frozen=True)
class Findings:
    """Diagnostics that the verdict draws on, besides those of every facet and the bias.

    Attributes:
      effects: of single judges.
      drift: None where ratings have no order.
      groups: comparisons of groups of judges.
      dimensions: of the residuals.
      disordered: names of scales with a disordered threshold.
    """

    effects: JudgeEffects
    drift: Drift | None = None
    groups: Sequence[GroupComparison] = ()
    dimensions: Sequence[Dimensionality] = ()
    disordered: Sequence[str] = ()


def verdict(
    fit: Fit,
    diagnostics: Diagnostics,
    labels: Labels,
    bias: Mapping[tuple[str, str], Interactions],
    findings: Findings,
    names: Names | None = None,
) -> list[str]:
    """Sentences on the models' separation, judges, misfit, bias, scale and dimensions."""
    severity, error = shown_measures(fit, diagnostics)["judge"]
    overall = float(diagnostics.overall.infit)
    return [
        separation_sentence(diagnostics.model.separation, names),
        *severity_sentences(severity, error, np.isinf(fit.judge), labels["judge"], names),
        *misfit_sentences(
            {
                facet: Fitting.of(getattr(diagnostics, facet).statistics, fit, facet)
                for facet in ("judge", "rubric", "model")
            },
            overall,
            labels,
            names,
        ),
        *_effects(findings.effects, labels),
        *(bias_sentence(found, labels, pair, names) for pair, found in bias.items()),
        *_drift(findings.drift, labels, names),
        *_groups(findings.groups),
        *_scale(findings, names),
    ]


def separation_sentence(about: Separation, names: Names | None) -> str:
    """Says whether the scale tells the models apart."""
    model, levels = word("model", names), int(about.levels)
    if levels < 2:
        return f"{model}s: fewer than two have a finite score, so nothing is compared"
    reliability, strata, p = (float(v) for v in (about.reliability, about.strata, about.p))
    if not p < DISCOVERY:
        there = [facet for facet in ("question", "judge") if not names or facet in names]
        more = " or ".join(f"{word(facet, names)}s" for facet in there or ["rating"])
        return (
            f"{model}s: their scores do not differ more than by chance (p {p:.2f}); add {more} "
            "before ranking them"
        )
    clear = "are well told apart" if reliability >= 0.9 else (
        "are told apart in part" if reliability >= 0.7 else "are hardly told apart"
    )  # fmt: skip
    groups = min(max(round(strata), 1), levels)  # strata may be more than there are levels
    text = f"about {groups} distinct group{'' if groups == 1 else 's'}"
    return f"{model}s {clear}: reliability {reliability:.2f}, {text}"


def severity_sentences(
    severity: np.ndarray,
    error: np.ndarray,
    infinite: np.ndarray,
    judges: Sequence[object],
    names: Names | None,
) -> list[str]:
    """The judges who are surely harsher or milder than the mean judge.

    `severity` and `error` (J,) are adjusted where the estimate is `infinite`, if that can be.
    """
    if severity.size < 2:
        return []
    infinite = np.asarray(infinite)
    with np.errstate(invalid="ignore"):
        sure = (np.abs(severity) >= HARSH) & (infinite | (np.abs(severity) >= SURELY * error))
    found, judge = [], word("judge", names)
    for kind, side in (("harsh", severity > 0), ("mild", severity < 0)):
        chosen = np.flatnonzero(sure & side)
        chosen = chosen[np.argsort(-np.abs(severity[chosen]))]
        texts = []
        for j in chosen:
            told = f"{severity[j]:+.2f} logits"
            if infinite[j]:
                known = f"{told}, adjusted: " if np.isfinite(severity[j]) else ""
                told = f"{known}no finite estimate"
            texts.append(f"{clip(judges[j])} ({told})")
        if texts:
            found.append(f"{kind} {judge}s: {_listed(texts)}")
    return found or [f"{judge}s: none is surely harsher or milder than the others by half a logit"]


@dataclasses.dataclass(frozen=True)
class Fitting:
    """How the ratings of L levels fit; all (L,).

    Attributes:
      infit: mean squares.
      zstd: standardised.
      count: numbers of ratings.
      extreme: bool, levels with only the highest or the lowest scores, which always fit.
    """

    infit: np.ndarray
    zstd: np.ndarray
    count: np.ndarray
    extreme: np.ndarray

    @classmethod
    def of(cls, statistics: FitStatistics, fit: Fit, facet: str) -> Fitting:
        """From statistics of a facet's levels."""
        figures = statistics.infit, statistics.infit_zstd, statistics.count
        extreme = np.isin(getattr(fit.extreme, facet), (ALL_SUCCESSES, ALL_FAILURES))
        return cls(*(np.asarray(a, float) for a in figures), extreme)

    def usual(self, overall: float) -> float:
        """Mean square to compare with: of all ratings, but for those of extreme levels."""
        inside = np.isfinite(self.infit) & ~self.extreme
        if not (np.isfinite(self.infit) & self.extreme).any() or not inside.any():
            return overall
        return float(np.average(self.infit[inside], weights=self.count[inside]))


# What a facet's misfit may be, and what to do.
CURES = {
    "judge": {
        "erratic": "look at their unexpected responses, or leave them out",
        "too regular": "they may use few scores, or copy others",
    },
    "rubric": {
        "erratic": "judges read them in different ways, or they ask for something else",
        "too regular": "they may repeat what other items ask",
    },
    "model": {"erratic": "judges or items disagree about them, see the tables of bias"},
}
# Of further facets, whose part is not known.
FURTHER = {"erratic": "see who departs there in tables of bias (--pairs)"}


def misfit_sentences(
    found: Mapping[str, Fitting], overall: float, labels: Labels, names: Names | None
) -> list[str]:
    """Levels whose ratings are noisier or more regular than the rest, facet by facet."""
    told = []
    for facet, about in found.items():
        usual = about.usual(overall)
        surprising = (np.abs(about.zstd) >= 2.0) & ~about.extreme
        sides = {
            "erratic": about.infit > MISFIT * usual,
            "too regular": about.infit < usual / MISFIT,
        }
        for kind, cure in CURES.get(facet, FURTHER).items():
            chosen = np.flatnonzero(surprising & sides[kind])
            texts = [f"{clip(labels[facet][i])} (infit {about.infit[i]:.2f})" for i in chosen]
            if texts:
                told.append(f"{kind} {word(facet, names)}s: {_listed(texts)}; {cure}")
    return told


def _effects(found: JudgeEffects, labels: Labels) -> list[str]:
    """Judges with a halo, or who keep to one part of the scale."""
    cures = {
        "halo": "one impression colours all items: ask for each item apart",
        "central tendency": "few of the lowest and highest scores: their scores tell less apart",
        "extreme scores": "more of the lowest and highest scores than their severity explains",
    }
    names = list(zip(level_names(labels["judge"]), found.names(), strict=True))
    sentences = []
    for effect, cure in cures.items():
        judges = [clip(judge) for judge, name in names if effect in name]
        if judges:
            sentences.append(f"{effect}: {_listed(judges)}; {cure}")
    return sentences


def _drift(found: Drift | None, labels: Labels, names: Names | None) -> list[str]:
    """Judges whose severity changes over time."""
    if found is None:
        return []
    judge = word("judge", names)
    chosen = np.flatnonzero(found.q <= DISCOVERY)
    if not np.isfinite(found.z).any():
        return [f"drift: no {judge}'s ratings have times that differ, so nothing is tested"]
    if not chosen.size:
        return [f"drift: no {judge}'s severity changes beyond chance"]
    chosen = chosen[np.argsort(-np.abs(found.z[chosen]), kind="stable")]
    texts = [f"{clip(labels['judge'][j])} ({found.drift[j]:+.2f} logits)" for j in chosen]
    return [f"drift, from a {judge}'s first rating to its last: {_listed(texts)}"]


def _groups(found: Sequence[GroupComparison]) -> list[str]:
    """Groups that differ in severity, or in what they measure."""
    sentences = []
    for one in found:
        pair = f"{clip(one.first)} and {clip(one.second)}"
        kind = "harsher" if one.difference > 0 else "milder"
        differ = f"{clip(one.first)} is {kind} by {abs(one.difference):.2f} logits"
        parts = [differ if one.p < DISCOVERY else "equally severe, as far as can be told"]
        for part in one.constructs:
            parts.append(_construct(part))
        sentences.append(f"groups {pair}: {'; '.join(parts)}")
    return sentences


def _construct(part: Construct) -> str:
    """Says whether two groups measure the same, as far as their ratings tell."""
    found = min(max(part.disattenuated, -1.0), 1.0)
    if not np.isfinite([found, part.lower, part.upper]).all() or part.upper - part.lower >= VAGUE:
        return f"too few ratings to say whether they measure the same of {part.of}"
    shared = "the same" if part.upper >= SAME else "not the same"
    return (
        f"they measure {shared} of {part.of} (correlation freed of errors {found:.2f}, "
        f"{part.lower:.2f} to {part.upper:.2f})"
    )


def _scale(findings: Findings, names: Names | None) -> list[str]:
    """Disordered thresholds and further dimensions."""
    sentences = disorder_sentences(findings.disordered)
    for one in findings.dimensions:
        first, of = one.eigenvalue[0], word(one.facet, names)
        if first >= CONTRAST and first > one.reference_upper[0]:
            sentences.append(
                f"dimensionality: {of}s fall into two sides (first contrast {first:.1f} "
                f"{of}s strong, {one.reference_upper[0]:.1f} by chance); see their loadings, and "
                "calibrate the sides apart if they mean different things"
            )
    return sentences


def disorder_sentences(disordered: Sequence[str]) -> list[str]:
    """Scales with a disordered threshold, by name."""
    if not disordered:
        return []
    return [
        f"disordered thresholds: {_listed(disordered)}; a category is never the most likely: join "
        "it with a neighbour, or describe it better"
    ]


def bias_sentence(
    found: Interactions, labels: Labels, pair: tuple[str, str], names: Names | None
) -> str:
    """The pairs that depart from the sum of their parts."""
    of, by = (word(facet, names) for facet in pair)
    q, z = np.asarray(found.q), np.asarray(found.z)
    rows, columns = np.nonzero(q <= DISCOVERY)
    if not rows.size:
        return f"bias of {of} by {by}: none beyond chance"
    order = np.argsort(-np.abs(z[rows, columns]), kind="stable")
    texts = [
        f"{clip(labels[pair[0]][r])} {'favours' if z[r, c] > 0 else 'disfavours'} "
        f"{clip(labels[pair[1]][c])}"
        for r, c in zip(rows[order], columns[order], strict=True)
    ]
    return (
        f"bias of {of} by {by}, {rows.size} pairs: {_listed(texts)}; see whether scores "
        "change without them (--leave-one-out)"
    )


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more
