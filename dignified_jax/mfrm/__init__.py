"""The many-facet Rasch model: scores of models, freed of judges', items' and questions' severity.

    from dignified_jax import mfrm
    ratings = mfrm.from_long("ratings.csv")             # model, question, judge, rubric, score
    fit = mfrm.fit(ratings.successes, ratings.trials)   # (model, question, judge, rubric) counts
    fit.score, fit.standard_error.score, fit.judge, fit.message

Needs JAX and NumPy only (pyarrow for Parquet files).
"""

from dignified_jax.mfrm.connectivity import DisconnectedError, subsets
from dignified_jax.mfrm.fit import fit
from dignified_jax.mfrm.fit_sparse import SparseRatings, fit_sparse
from dignified_jax.mfrm.long import OrdinalRatings, Ratings, from_long
from dignified_jax.mfrm.result import Extreme, Fit, Precision, StandardErrors
from dignified_jax.mfrm.status import Status

__all__ = [
    "DisconnectedError",
    "Extreme",
    "Fit",
    "OrdinalRatings",
    "Precision",
    "Ratings",
    "SparseRatings",
    "StandardErrors",
    "Status",
    "fit",
    "fit_sparse",
    "from_long",
    "subsets",
]
