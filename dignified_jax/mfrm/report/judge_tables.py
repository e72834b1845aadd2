"""Tables about the judges as a body, and about single ratings."""

from __future__ import annotations

import numpy as np

from dignified_jax.console.table import Table
from dignified_jax.mfrm.diagnostics.agreement import FIGURES, Agreement
from dignified_jax.mfrm.diagnostics.unexpected import UnexpectedResponses
from dignified_jax.mfrm.report.tables import Labels
from dignified_jax.mfrm.result import FACETS

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
    sets = {"all": found.overall} | found.groups
    rows = [(name, figure, sets[name][figure]) for name in sets for figure in FIGURES]
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


def unexpected_table(found: UnexpectedResponses, labels: Labels) -> Table:
    """A rating a row, the most unexpected first."""
    columns: dict[str, list[object]] = {
        facet: [labels[facet][level] for level in getattr(found, facet)] for facet in FACETS
    }
    for name in ("observed", "expected", "residual", "standardized"):
        columns[name] = getattr(found, name).tolist()
    columns["judgments"] = found.judgments.astype(int).tolist()
    share = found.total / max(found.rated, 1)
    return Table(
        "unexpected",
        f"unexpected responses: {found.total:,} of {found.rated:,} ratings ({share:.1%}) with a "
        f"standardised residual of {found.least:g} or more",
        columns,
    )
