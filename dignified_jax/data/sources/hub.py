"""Records of directories and hub data sets, which `datasets` reads."""

from collections.abc import Iterator, Sequence

from dignified_jax.console.waiting import ShowCount, counting
from dignified_jax.data.sources.record import RawRecord, check_header


def hub_records(
    name: str,
    repository: str,
    split: str,
    required: Sequence[str],
    count: ShowCount,
    config: str | None = None,
    revision: str | None = None,
) -> Iterator[RawRecord]:
    """Yields the records of what `datasets.load_dataset` reads: a directory or a hub's set.

    Args:
      name: the source, as the user named it.
      repository: the directory or hub id.
      split: name of the split.
      required: columns that it must have.
      count: told how many rows have been read.
      config: of a hub's set, where it has several.
      revision: branch, tag or commit of a hub's set; its newest state by default.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it can't be read.
      BadRowsError: a required column is missing.
    """
    import datasets

    try:
        which = (repository,) if config is None else (repository, config)
        table = datasets.load_dataset(*which, split=split, revision=revision)
    except FileNotFoundError as error:
        message = f"{name}: no such file and no such data set"
        raise FileNotFoundError(message) from error
    except Exception as error:  # of the many libraries below `datasets`
        cause = error.__cause__ or error
        line = " ".join(str(cause).split())[:300]
        if "cast" in line:
            line += "; its files differ in the type of a column: write it alike in all, or name one"
        if config is None and line.startswith("Config name is missing"):
            line += f"; name one as {repository}:CONFIGURATION:{split}"
        raise ValueError(f"{name}: not readable as a data set: {line}") from error
    total = getattr(table, "num_rows", 0)  # a mere iterable has none
    for row, columns in enumerate(counting(table, count, total) if total else table, 1):
        if row == 1:
            check_header(name, list(columns), required)
        yield RawRecord(name, row, columns, columns)
