"""Preference rows, the dimensions that they are about and groups of these, and bad rows."""

from dignified_jax.data.schema.conversation import Message, Prompt
from dignified_jax.data.schema.dimensions import (
    DEFAULT_GROUPS,
    DIMENSIONS,
    RESPONSES,
    Groups,
    check_dimensions,
    find_dimensions,
    parse_groups,
    response_names,
)
from dignified_jax.data.schema.problems import (
    MOST_LINES,
    BadRowsError,
    RowProblem,
    first_lines,
    shorten,
)
from dignified_jax.data.schema.row import PreferenceRow, dimensions_of

__all__ = [
    "DEFAULT_GROUPS",
    "DIMENSIONS",
    "MOST_LINES",
    "RESPONSES",
    "BadRowsError",
    "Groups",
    "Message",
    "PreferenceRow",
    "Prompt",
    "RowProblem",
    "check_dimensions",
    "dimensions_of",
    "find_dimensions",
    "first_lines",
    "parse_groups",
    "response_names",
    "shorten",
]
