"""Lines that say how full a stream's packed rows are."""

from collections.abc import Mapping

from dignified_jax.data.batch import Capacity
from dignified_jax.data.stream import BatchStream


def describe(stream: BatchStream) -> str:
    """A line on rows, padding and accumulation over the planned steps of a stream.

    Rows that fill up a microbatch are computed, and so count as padding; whole microbatches of
    empty rows are skipped, and don't.
    """
    shape, group = stream.shape, stream.rows_multiple
    used = (shape.least_used, shape.most_used)
    least, most = (-(-rows // group) for rows in used)
    line = (
        f"rows of {stream.row_length} tokens, {stream.useful_share:.1%} useful, "
        f"{1 - stream.useful_share:.1%} padding; {_span(*used, 'row')} a batch in "
        f"{_span(least, most, 'accumulation step')} of {_span(group, group, 'row')}"
    )
    if empty := stream.rows - shape.least_used:
        line += (
            f"; the smallest batch leaves {empty} of {stream.rows} rows empty, "
            f"{stream.rows - least * group} of them skipped"
        )
    return line


def shapes(streams: Mapping[str, BatchStream]) -> str:
    """A line on how many shapes batches have: the bound on what is compiled for them."""
    kinds = {name: (stream.rows, stream.capacity) for name, stream in streams.items()}
    training = kinds.pop("train")
    return (
        f"batches have one shape in training ({_shape(*training)}), "
        f"{len(set(kinds.values()))} in evaluation "
        f"({'; '.join(_shape(*kind) for kind in dict.fromkeys(kinds.values()))})"
    )


def _shape(rows: int, capacity: Capacity) -> str:
    return (
        f"{_span(rows, rows, 'row')} of at most {capacity.slots} response tokens and "
        f"{capacity.segments} segments"
    )


def _span(least: int, most: int, unit: str) -> str:
    """3 rows, or 3 to 5 rows."""
    numbers = f"{most}" if least == most else f"{least} to {most}"
    return f"{numbers} {unit}" + ("" if most == 1 else "s")
