"""The table of judgments, and that mfrm reads it."""

import pyarrow as pa
import pytest

from dignified_jax import mfrm
from dignified_jax.evaluation.judging import judgments
from dignified_jax.evaluation.judging.judgments import Judge, JudgmentsError, Verdict

JUDGES = (Judge("j", "rules", "aa"), Judge("k", "model", "bb"))


@pytest.fixture
def table(responses, rubric):
    """Judge j says yes to all but that of the first response it leaves out A1; k says no."""
    verdicts = {
        JUDGES[0]: {(r.hash, item.name): Verdict(1) for r in responses for item in rubric.items},
        JUDGES[1]: {
            (r.hash, i.name): Verdict(0, -0.5, time="t", source="s")
            for r in responses
            for i in rubric.items
        },
    }
    verdicts[JUDGES[0]][responses[0].hash, "A1"] = Verdict(None, reason="no JSON")
    return judgments.tabulate(responses, rubric, verdicts)


def test_what_is_missing_has_no_row(table, responses):
    found, missing = table
    same = [r for r in responses if r.hash == responses[0].hash]
    assert len(missing) == len(same)
    assert missing[0] == judgments.Missing("one", "cat", "j", "A1", "no JSON")
    assert found.num_rows == 6 * 12 * 2 - len(same)
    assert judgments.count_reasons(missing) == {"j": {"no JSON": len(same)}}


def test_mfrm_reads_the_file(table, tmp_path):
    file = tmp_path / "judgments.parquet"
    judgments.write(file, table[0])
    ratings = mfrm.from_long(file)
    assert ratings.trials.shape == (2, 3, 2, 12)
    assert ratings.trials.max() == 1
    assert ratings.trials.sum() == table[0].num_rows
    assert ratings.successes[:, :, 1].sum() == 0  # judge k
    assert ratings.labels["judge"] == ("j", "k")
    assert judgments.read(file).equals(table[0])


def test_where_a_judgment_comes_from(table, responses, rubric):
    row = table[0].filter(pa.compute.equal(table[0]["judge"], "k")).slice(0, 1).to_pylist()[0]
    assert row == {
        **{"model": "one", "question": "cat", "judge": "k", "rubric": "A1", "dimension": "A"},
        **{"score": 0, "log_odds": -0.5, "judge_kind": "model", "judge_hash": "bb"},
        **{"response_hash": responses[0].hash, "rubric_hash": rubric.hash},
        **{"time": "t", "source": "s"},
    }


def test_no_row_twice(table, tmp_path):
    twice = pa.concat_tables([table[0], table[0].slice(5, 1)])
    with pytest.raises(JudgmentsError, match="found two of"):
        judgments.write(tmp_path / "twice.parquet", twice)
    assert not list(tmp_path.iterdir())


def test_other_tables_are_refused(table, tmp_path):
    column = pa.array([2] * table[0].num_rows, pa.int8())
    place = table[0].column_names.index("score")
    with pytest.raises(JudgmentsError, match=r"expected scores 0 and 1, found \[2\]"):
        judgments.check(table[0].set_column(place, "score", column))
    with pytest.raises(JudgmentsError, match="expected a column score"):
        judgments.check(table[0].drop_columns(["score"]))
    file = tmp_path / "j.parquet"
    file.write_text("no")
    with pytest.raises(JudgmentsError, match=r"j.parquet: not a Parquet file"):
        judgments.read(file)
