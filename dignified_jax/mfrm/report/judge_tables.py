"""Tables about the judges as a body, and about single ratings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dignified_jax.console.labels import printable
from dignified_jax.console.table import Table
from dignified_jax.mfrm.diagnostics.agreement import FIGURES, Agreement
from dignified_jax.mfrm.diagnostics.judges.drift import Drift
from dignified_jax.mfrm.diagnostics.judges.effects import JudgeEffects
from dignified_jax.mfrm.diagnostics.judges.groups import GroupComparison
from dignified_jax.mfrm.diagnostics.unexpected import UnexpectedResponses
from dignified_jax.mfrm.report.names import level_names
from dignified_jax.mfrm.report.tables import Labels
from dignified_jax.mfrm.result import FACETS

EVERYONE = "all"
NAMES = {
    "exact": "exact agreement",
    "expected": "expected agreement",
    "rasch_kappa": "Rasch-kappa",
    "cohen_kappa": "Cohen's kappa (mean of pairs)",
    "fleiss_kappa": "Fleiss' kappa",
    "alpha_nominal": "Krippendorff's alpha, nominal",
    "alpha_interval": "Krippendorff's alpha, interval",
    "icc_2k": "ICC(2,k)",
}


def agreement_table(found: Agreement) -> Table:
    """A figure a row, of all judges and of each group."""
    # A group may be called "all" as well.
    sets = [(EVERYONE, found.overall)]
    sets += [(f"{n} (group)" if n == EVERYONE else n, own) for n, own in found.groups.items()]
    rows = [(name, figure, own[figure]) for name, own in sets for figure in FIGURES]
    return Table(
        "agreement",
        f"agreement of judges, with {found.level:.0%} intervals over samples of the questions",
        {
            "judges": [name for name, _, _ in rows],
            "figure": [NAMES[figure] for _, figure, _ in rows],
            "value": [values[0] for _, _, values in rows],
            "lower": [values[1] for _, _, values in rows],
            "upper": [values[2] for _, _, values in rows],
        },
        notes=(
            "expected: by the fitted model, of judges who differ in severity only; Rasch-kappa is "
            "about 0 then, above where judges share more than the model knows",
        ),
    )


def agreement_pairs_table(found: Agreement, labels: Labels) -> Table:
    """A pair of judges a row, the least in agreement first."""
    first, second = np.nonzero(np.triu(found.common, 1))
    order = np.argsort(found.rasch_kappa[first, second], kind="stable")
    first, second = first[order], second[order]
    names = labels["judge"]
    columns: dict[str, list[object]] = {
        "judge": [names[j] for j in first],
        "other": [names[j] for j in second],
        "common": found.common[first, second].tolist(),
    }
    for name in ("exact", "expected", "rasch_kappa", "cohen_kappa"):
        columns[name] = getattr(found, name)[first, second].tolist()
    return Table("agreement_pairs", "agreement of each pair of judges", columns)


def unexpected_table(found: UnexpectedResponses, labels: Labels, after_bias: bool = False) -> Table:
    """A rating a row, the most unexpected first; `after_bias`: with the bias of pairs expected."""
    names = {facet: level_names(labels[facet]) for facet in FACETS}
    columns: dict[str, list[object]] = {
        facet: [names[facet][level] for level in getattr(found, facet)] for facet in FACETS
    }
    for name in ("observed", "expected", "residual", "standardized"):
        columns[name] = getattr(found, name).tolist()
    columns["judgments"] = found.judgments.astype(int).tolist()
    share = found.total / max(found.rated, 1)
    kind = "unexpected responses after bias" if after_bias else "unexpected responses"
    return Table(
        "unexpected_after_bias" if after_bias else "unexpected",
        f"{kind}: {found.total:,} of {found.rated:,} ratings ({share:.1%}) with a "
        f"standardised residual of {found.least:g} or more",
        columns,
    )


def effects_table(found: JudgeEffects, labels: Labels) -> Table:
    """A judge a row: halo, use of the scale, discrimination."""
    columns: dict[str, list[object]] = {
        "judge": level_names(labels["judge"]),
        "ratings": found.count.tolist(),
        "categories": found.categories.tolist(),
        "sd": found.deviation.tolist(),
        "expected_sd": found.expected_deviation.tolist(),
        "extreme": found.extreme.tolist(),
        "expected_extreme": found.expected_extreme.tolist(),
        "extreme_z": found.extreme_z.tolist(),
        "discrimination": found.discrimination.tolist(),
        "discrimination_z": found.discrimination_z.tolist(),
        "halo": found.halo.tolist(),
        "halo_z": found.halo_z.tolist(),
        "raw_correlation": found.raw_correlation.tolist(),
        "effect": found.names(),
    }
    if not np.isfinite(found.extreme).any():  # yes/no ratings are all at the ends
        for name in ("extreme", "expected_extreme", "extreme_z"):
            del columns[name]
    if len(labels["rubric"]) < 2:
        for name in ("halo", "halo_z", "raw_correlation"):
            del columns[name]
    notes = (
        "extreme: share of the lowest and highest score, few where a judge keeps to the middle; "
        "halo: correlation between rubric items of residuals on the same answer, z against the "
        "other judges; discrimination: slope on the measures, z against the mean judge",
    )
    return Table("judge_effects", "judge effects: halo, central tendency", columns, notes=notes)


def drift_table(found: Drift, labels: Labels) -> Table:
    """A judge a row, the surest drift first."""
    order = np.argsort(-np.abs(found.z), kind="stable")
    names = level_names(labels["judge"])
    columns: dict[str, list[object]] = {
        "judge": [names[j] for j in order],
        "ratings": found.count[order].tolist(),
        "drift": found.drift[order].tolist(),
        "se": found.standard_error[order].tolist(),
        "z": found.z[order].tolist(),
        "p": found.p[order].tolist(),
        "q": found.q[order].tolist(),
    }
    for part in range(found.severity.shape[1]):
        columns[f"part_{part + 1}"] = found.severity[order, part].tolist()
    notes = (
        "drift: change of severity in logits from a judge's first rating to its last; part_1 ...: "
        "severity in each quarter of its ratings",
    )
    if found.without_time:
        notes += (f"{found.without_time:,} ratings without a time are left out",)
    title = f"drift of the judges' severity over {printable(found.column)}"
    return Table("drift", title, columns, notes=notes)


def group_table(found: Sequence[GroupComparison]) -> Table:
    """A pair of groups a row: who is harsher."""
    columns: dict[str, list[object]] = {
        "group": [one.first for one in found],
        "other": [one.second for one in found],
        "severity": [one.severity[0] for one in found],
        "other_severity": [one.severity[1] for one in found],
        "difference": [one.difference for one in found],
        "se": [one.standard_error for one in found],
        "z": [one.z for one in found],
        "p": [one.p for one in found],
    }
    return Table("judge_groups", "groups of judges: mean severity, in logits", columns)


def construct_table(found: Sequence[GroupComparison]) -> Table:
    """A pair of groups and a kind of estimate (of models, of answers) a row."""
    rows = [(one, part) for one in found for part in one.constructs]
    columns: dict[str, list[object]] = {
        "group": [one.first for one, _ in rows],
        "other": [one.second for one, _ in rows],
        "of": [part.of for _, part in rows],
        "count": [part.count for _, part in rows],
        "correlation": [part.correlation for _, part in rows],
        "reliability": [part.reliability[0] for _, part in rows],
        "other_reliability": [part.reliability[1] for _, part in rows],
        "disattenuated": [part.disattenuated for _, part in rows],
        "lower": [part.lower for _, part in rows],
        "upper": [part.upper for _, part in rows],
    }
    notes = (
        "correlations of estimates from each group's ratings alone; disattenuated: freed of their "
        "errors, with a 95% interval. About 1 the groups differ in severity only; well below 1 "
        "they judge different things. answers: within models",
        *(printable(one.message) for one in found if one.message),
    )
    title = "construct of the groups: do they measure the same?"
    return Table("judge_group_constructs", title, columns, notes=notes)
