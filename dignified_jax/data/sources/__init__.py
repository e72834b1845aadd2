"""Sources of rows: every accepted one becomes raw records.

Nothing is checked here but what keeps a record from being read at all (broken JSON, wrong
encoding, a ragged CSV line); `validation` looks at the columns.
"""

from dignified_jax.data.sources.reader import read_records, stream_records
from dignified_jax.data.sources.record import RawRecord

__all__ = ["RawRecord", "read_records", "stream_records"]
