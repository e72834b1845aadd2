"""Preference rows, and files of them in every format."""

import csv
import json
from pathlib import Path

import pytest

from dignified_jax.data import BadRowsError, PreferenceRow, read_rows

ROOT = Path(__file__).parents[2]
REJECTS = ("reject_A", "reject_C", "reject_E", "reject_T")
COLUMNS = ("mask", "seed_scene", "context", "trigger", "prompt", "golden", *REJECTS)


def record(mask=("A",), prompt="Am I right?", golden="Not quite.", **rejects):
    texts = {"seed_scene": "s", "context": "c", "trigger": "t", "prompt": prompt, "golden": golden}
    filled = {f"reject_{d}": rejects.get(d, f"bad {d}" if d in mask else "") for d in "ACET"}
    return {"mask": list(mask), **texts, **filled}


RECORDS = [
    record(("E", "A"), prompt='  Line one,\n"line two"\u2028 and \u00e9  '),
    record(("T",), golden="Ask, then check."),
    record(("C", "A", "T", "E")),
]
EXPECTED = [
    PreferenceRow(
        r["prompt"],
        r["golden"],
        {d: r[f"reject_{d}"] for d in "ATEC" if d in r["mask"]},
        seed_scene="s",
        context="c",
        trigger="t",
    )
    for r in RECORDS
]


def write_jsonl(path, records):
    lines = (r if isinstance(r, bytes) else json.dumps(r).encode() for r in records)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def write_csv(path, records, mask):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({**r, "mask": mask(r["mask"])} for r in records)
    return path


def write_parquet(path, records):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    return path


def problems_of(path, **options):
    with pytest.raises(BadRowsError) as caught:
        read_rows(path, **options)
    for problem in caught.value.problems:
        assert str(problem) in str(caught.value).splitlines()
    return caught.value.problems
