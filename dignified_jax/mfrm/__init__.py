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

from dignified_jax.mfrm import plots, tables
from dignified_jax.mfrm.bootstrap import Bootstrap, bootstrap
from dignified_jax.mfrm.connectivity import DisconnectedError, subsets
from dignified_jax.mfrm.diagnostics import Diagnostics, diagnose
from dignified_jax.mfrm.fit import fit
from dignified_jax.mfrm.fit_sparse import SparseRatings, fit_sparse
from dignified_jax.mfrm.groups import anchor_groups
from dignified_jax.mfrm.interactions import Interactions, interactions
from dignified_jax.mfrm.long import OrdinalRatings, Ratings, from_long
from dignified_jax.mfrm.result import Extreme, Fit, Precision, StandardErrors
from dignified_jax.mfrm.sensitivity import (
    JudgeSensitivity,
    gauge_shift,
    leave_one_judge_out,
    propagate,
)
from dignified_jax.mfrm.status import Status

__all__ = [
    "Bootstrap",
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
    "anchor_groups",
    "bootstrap",
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
]
