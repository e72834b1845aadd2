"""Rows into a review: all or none, once, with every problem told."""

import json
import subprocess
import sys

import pytest
from sqlmodel import select

from dignified_jax import data
from dignified_jax.review import importing
from dignified_jax.review.tables import Pair, Row, Text
from tests.review.conftest import make_review, make_rows

pytestmark = pytest.mark.wiring


def test_rows_are_added_once(review):
    assert importing.add(review, [make_rows(6)]) == importing.Imported(2, 3, 4)
    assert importing.add(review, [make_rows(6), make_rows(6)]) == importing.Imported(0, 0, 12)
    with review.reading() as session:
        assert len(session.exec(select(Row)).all()) == 6
        fields = session.exec(select(Text.field).where(Text.row_id == 2)).all()
    roles = [f"prompt[{at}]" for at in range(4)]
    assert sorted(fields) == sorted([*roles, "golden", "reject_A", "reject_E"])


def test_sixteen_dimensions_of_any_name(tmp_path):
    names = tuple(f"Größe-{at}" for at in range(16))
    row = data.PreferenceRow("p", "g", {n: f"bad {n}" for n in names}, dimensions=names)
    made = make_review(tmp_path / "review.db", [row], dimensions=names)
    with made.reading() as session:
        assert session.exec(select(Pair.dimension).order_by(Pair.id)).all() == list(names)
    made.close()


def test_a_bad_file_adds_nothing_and_names_every_problem(review, tmp_path):
    good = tmp_path / "good.jsonl"
    good.write_text(
        json.dumps({"prompt": "p", "golden": "g", "mask": ["A"], "reject_A": "r"}) + "\n"
    )
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "", "golden": "g", "mask": ["A"], "reject_A": "g"}\nno json\n')
    with pytest.raises(data.BadRowsError) as told:
        importing.read([str(good), str(bad)], review.project.dimensions)
    message = str(told.value)
    for part in ("bad.jsonl:1: prompt", "bad.jsonl:1: reject_A", "bad.jsonl:2"):
        assert part in message


@pytest.mark.slow
def test_parquet_needs_no_jax(tmp_path):
    code = (
        "import sys, pyarrow, pyarrow.parquet\n"
        "from dignified_jax.review import importing\n"
        f"file = {str(tmp_path / 'rows.parquet')!r}\n"
        "row = {'prompt': ['p'], 'golden': ['g'], 'mask': [['A']], 'reject_A': ['r']}\n"
        "pyarrow.parquet.write_table(pyarrow.table(row), file)\n"
        "assert len(importing.read([file], list('ATEC'))[0][0]) == 1\n"
        "assert not {'jax', 'datasets', 'torch', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
