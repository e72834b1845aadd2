"""The many-facet Rasch model: scores of models, freed of judges', items' and questions' severity.

    from dignified_jax import mfrm
    ratings = mfrm.from_long("ratings.csv")             # model, question, judge, rubric, score
    fit = mfrm.fit(ratings.successes, ratings.trials)   # (model, question, judge, rubric) counts
    fit.score, fit.standard_error.score, fit.judge, fit.message

    about = mfrm.diagnose(fit, ratings.successes, ratings.trials)      # mean squares, separation
    bias = mfrm.interactions(fit, ratings.successes, ratings.trials)   # judge by model
    print(mfrm.tables.measure_table(fit, about, ratings.labels, "judge").text())

Needs JAX and NumPy only (pyarrow for Parquet files, matplotlib for `mfrm.plots`).
"""

from dignified_jax.mfrm.connectivity import DisconnectedError, subsets
from dignified_jax.mfrm.diagnostics.agreement import Agreement, agreement
from dignified_jax.mfrm.diagnostics.bootstrap import Bootstrap, bootstrap
from dignified_jax.mfrm.diagnostics.category_statistics import (
    CategoryStatistics,
    category_statistics,
)
from dignified_jax.mfrm.diagnostics.contrasts import Contrasts, contrasts
from dignified_jax.mfrm.diagnostics.diagnose import Diagnostics, diagnose
from dignified_jax.mfrm.diagnostics.dimensionality import Dimensionality, dimensionality
from dignified_jax.mfrm.diagnostics.group_anchors import anchor_groups
from dignified_jax.mfrm.diagnostics.interactions import Interactions, interactions
from dignified_jax.mfrm.diagnostics.judges.drift import Drift, drift
from dignified_jax.mfrm.diagnostics.judges.effects import JudgeEffects, judge_effects
from dignified_jax.mfrm.diagnostics.judges.groups import GroupComparison, compare_groups
from dignified_jax.mfrm.diagnostics.pairwise_bias import PairwiseBias, pairwise_bias
from dignified_jax.mfrm.diagnostics.residual_summary import ResidualSummary, residual_summary
from dignified_jax.mfrm.diagnostics.scale import category_curves
from dignified_jax.mfrm.diagnostics.sensitivity import (
    JudgeSensitivity,
    gauge_shift,
    leave_one_judge_out,
    propagate,
)
from dignified_jax.mfrm.diagnostics.shifts import Shifts, shifts
from dignified_jax.mfrm.diagnostics.unexpected import UnexpectedResponses, unexpected_responses
from dignified_jax.mfrm.fit import fit
from dignified_jax.mfrm.input.long_table import OrdinalRatings, Ratings, from_long
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.report import plots, tables
from dignified_jax.mfrm.result import Extreme, Fit, Precision, StandardErrors, Status
from dignified_jax.mfrm.sparse.agreement import sparse_agreement
from dignified_jax.mfrm.sparse.bias import sparse_interactions, sparse_unexpected
from dignified_jax.mfrm.sparse.fit import facet_levels, fit_sparse
from dignified_jax.mfrm.sparse.shifts import sparse_shifts
from dignified_jax.mfrm.sparse.statistics import (
    sparse_category_statistics,
    sparse_residual_summary,
)

__all__ = [
    "Agreement",
    "Bootstrap",
    "CategoryStatistics",
    "Contrasts",
    "Diagnostics",
    "Dimensionality",
    "DisconnectedError",
    "Drift",
    "Extreme",
    "Fit",
    "GroupComparison",
    "Interactions",
    "JudgeEffects",
    "JudgeSensitivity",
    "OrdinalRatings",
    "PairwiseBias",
    "Precision",
    "Ratings",
    "ResidualSummary",
    "Shifts",
    "SparseRatings",
    "StandardErrors",
    "Status",
    "UnexpectedResponses",
    "agreement",
    "anchor_groups",
    "bootstrap",
    "category_curves",
    "category_statistics",
    "compare_groups",
    "contrasts",
    "diagnose",
    "dimensionality",
    "drift",
    "facet_levels",
    "fit",
    "fit_sparse",
    "from_long",
    "gauge_shift",
    "interactions",
    "judge_effects",
    "leave_one_judge_out",
    "pairwise_bias",
    "plots",
    "propagate",
    "residual_summary",
    "shifts",
    "sparse_agreement",
    "sparse_category_statistics",
    "sparse_interactions",
    "sparse_residual_summary",
    "sparse_shifts",
    "sparse_unexpected",
    "subsets",
    "tables",
    "unexpected_responses",
]
