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
from dignified_jax.mfrm.diagnostics.contrasts import Contrasts, contrasts
from dignified_jax.mfrm.diagnostics.diagnose import Diagnostics, diagnose
from dignified_jax.mfrm.diagnostics.group_anchors import anchor_groups
from dignified_jax.mfrm.diagnostics.interactions import Interactions, interactions
from dignified_jax.mfrm.diagnostics.sensitivity import (
    JudgeSensitivity,
    gauge_shift,
    leave_one_judge_out,
    propagate,
)
from dignified_jax.mfrm.diagnostics.unexpected import UnexpectedResponses, unexpected_responses
from dignified_jax.mfrm.fit import fit
from dignified_jax.mfrm.input.long_table import OrdinalRatings, Ratings, from_long
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.report import plots, tables
from dignified_jax.mfrm.result import Extreme, Fit, Precision, StandardErrors, Status
from dignified_jax.mfrm.sparse.fit import fit_sparse

__all__ = [
    "Agreement",
    "Bootstrap",
    "Contrasts",
    "Diagnostics",
    "DisconnectedError",
    "Extreme",
    "Fit",
    "Interactions",
    "JudgeSensitivity",
    "OrdinalRatings",
    "Precision",
    "Ratings",
    "SparseRatings",
    "StandardErrors",
    "Status",
    "UnexpectedResponses",
    "agreement",
    "anchor_groups",
    "bootstrap",
    "contrasts",
    "diagnose",
    "fit",
    "fit_sparse",
    "from_long",
    "gauge_shift",
    "interactions",
    "leave_one_judge_out",
    "plots",
    "propagate",
    "subsets",
    "tables",
    "unexpected_responses",
]
