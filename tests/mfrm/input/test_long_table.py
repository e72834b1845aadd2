"""Long tables: the same arrays from every source, and errors that name rows."""

import gzip

import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.input.scores import LEAVE_OUT, NAME_MISSING

pytestmark = pytest.mark.wiring

TABLE = {
    "model": ["b", "a", "a", "b", "a"],
    "question": [2, 1, 2, 2, 2],
    "judge": ["x", "x", "y", "x", "y"],
    "rubric": ["r", "r", "r", "r", "s"],
    "score": [1, 0, 1, 0, 1],
}


def with_column(**columns):
    return TABLE | columns


def test_duplicates_are_summed_and_labels_kept():
    ratings = mfrm.from_long(TABLE)
    assert ratings.labels == {
        "model": ("a", "b"),
        "question": (1, 2),
        "judge": ("x", "y"),
        "rubric": ("r", "s"),
    }
    assert ratings.trials.shape == (2, 2, 2, 2) and ratings.trials.sum() == 5
    assert ratings.trials[1, 1, 0, 0] == 2 and ratings.successes[1, 1, 0, 0] == 1
    assert ratings.trials[0, 0, 0, 0] == 1 and ratings.successes[0, 0, 0, 0] == 0
    assert ratings.successes[0, 1, 1].tolist() == [1, 1]
    assert np.count_nonzero(ratings.trials) == 4


def write(path, text):
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8") as file:
        file.write(text)
    return path


def test_every_source_gives_the_same(tmp_path):
    pandas = pytest.importorskip("pandas")
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    names = list(TABLE)
    lines = [names, *zip(*TABLE.values(), strict=True)]
    comma = "\n".join(",".join(map(str, line)) for line in lines) + "\n"
    parquet.write_table(arrow.table(TABLE), tmp_path / "t.parquet")
    sources = [
        {name: np.array(values) for name, values in TABLE.items()},
        pandas.DataFrame(TABLE),
        arrow.table(TABLE),
        tmp_path / "t.parquet",
        write(tmp_path / "t.csv", "\ufeff" + comma),  # with a byte-order mark, as Excel writes
        str(write(tmp_path / "t.csv.gz", comma)),
        write(tmp_path / "t.tsv", comma.replace(",", "\t")),
    ]
    expected = mfrm.from_long(TABLE)
    for source in sources:
        ratings = mfrm.from_long(source)
        np.testing.assert_array_equal(ratings.successes, expected.successes)
        np.testing.assert_array_equal(ratings.trials, expected.trials)
        assert ratings.labels["model"] == ("a", "b")


def test_columns_by_other_names_and_missing_facets():
    table = {"system": ["a", "b"], "item": [1, 1], "ok": [True, False]}
    ratings = mfrm.from_long(
        table, model="system", question="item", judge=None, rubric=None, score="ok"
    )
    assert ratings.successes.shape == (2, 1, 1, 1)
    assert ratings.successes.ravel().tolist() == [1, 0]


def test_threshold():
    table = with_column(score=[5, 1.9, 2, 3, 1])
    ratings = mfrm.from_long(table, threshold=2)
    assert ratings.successes[1, 1, 0, 0] == 2
    assert ratings.successes[0, 0, 0, 0] == 0 and ratings.successes[0, 1, 1, 0] == 1


def test_categories():
    ratings = mfrm.from_long(with_column(score=[5, "2", 3.0, 4, 3]), categories=(1, 5))
    assert ratings.categories == (1, 2, 3, 4, 5) and ratings.counts.shape == (2, 2, 2, 2, 5)
    assert ratings.counts.sum() == 5 and ratings.labels["judge"] == ("x", "y")
    assert ratings.counts[1, 1, 0, 0].tolist() == [0, 0, 0, 1, 1]  # repeated
    assert ratings.counts[0, 0, 0, 0].tolist() == [0, 1, 0, 0, 0]
    assert ratings.counts[0, 0, 1, 0].tolist() == [0] * 5
    with pytest.raises(ValueError, match=r"from 1 to 4: row 1 \(found 5\), 3 \(found 7\)"):
        mfrm.from_long(with_column(score=[5, 2, 7, 4, 1]), categories=(1, 4))
    for wrong in ((5, 1), 5, (1, 2, 3), (1, 2.25)):
        with pytest.raises(ValueError, match="categories must be the lowest"):
            mfrm.from_long(TABLE, categories=wrong)
    with pytest.raises(ValueError, match="threshold"):
        mfrm.from_long(TABLE, categories=(0, 1), threshold=1)


def test_trials_column():
    table = with_column(score=[3, 0, 1, 2, 0], n=[4, 1, 1, 2, 1])
    ratings = mfrm.from_long(table, trials="n")
    assert ratings.successes[1, 1, 0, 0] == 5 and ratings.trials[1, 1, 0, 0] == 6
    with pytest.raises(ValueError, match=r"row 3 .*2 of 1"):
        mfrm.from_long(table | {"score": [3, 0, 2, 2, 0]}, trials="n")
    with pytest.raises(ValueError, match="threshold"):
        mfrm.from_long(table, trials="n", threshold=1)


def test_all_problems_are_named_at_once():
    table = with_column(score=[1, 2, float("nan"), "abc", 0], judge=["x", None, "y", " ", "x"])
    with pytest.raises(ValueError) as error:
        mfrm.from_long(table)
    lines = str(error.value).split("\n")
    assert lines == [
        f"score is missing: row 3; {LEAVE_OUT}",
        "score is not a finite number: row 4 (found 'abc'); yes/no scores are 0 and 1, true and "
        f"false, yes and no; {NAME_MISSING}",
        "score must be 0 or 1 (give threshold= or categories= for ordinal scores): row 2 (found 2)",
        f"judge is missing: row 2, 4; {LEAVE_OUT}",
    ]
    # Rows keep their numbers where others are left out.
    with pytest.raises(ValueError, match=r"number: row 4 \(found 'abc'\)"):
        mfrm.from_long(table | {"judge": ["x"] * 5}, missing=())


def test_many_bad_rows_are_counted():
    table = {name: values * 10 for name, values in TABLE.items()} | {"score": [7] * 50}
    with pytest.raises(ValueError, match="and 40 more"):
        mfrm.from_long(table)


def test_broken_tables(tmp_path):
    with pytest.raises(ValueError, match="no column 'score'; its columns are 'model'"):
        mfrm.from_long({name: values for name, values in TABLE.items() if name != "score"})
    with pytest.raises(ValueError, match="differ in length"):
        mfrm.from_long(with_column(score=[1]))
    with pytest.raises(ValueError, match="no rows"):
        mfrm.from_long({name: [] for name in TABLE})
    with pytest.raises(ValueError, match="mapping of columns"):
        mfrm.from_long([1, 2])
    with pytest.raises(ValueError, match=r"expected \.csv"):
        mfrm.from_long(tmp_path / "t.xlsx")
    with pytest.raises(ValueError, match="row 2: 2 values for 5 columns"):
        mfrm.from_long(
            write(tmp_path / "t.csv", "model,question,judge,rubric,score\na,1,x,r,1\na,1")
        )
    with pytest.raises(FileNotFoundError):
        mfrm.from_long(tmp_path / "none.csv")


def test_fits_what_it_reads():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*map(np.arange, (4, 8, 3, 2)), indexing="ij"), -1).reshape(-1, 4)
    scores = rng.integers(0, 2, len(grid))
    order = rng.permutation(len(grid))
    columns = dict(zip(("model", "question", "judge", "rubric"), grid[order].T, strict=True))
    ratings = mfrm.from_long(columns | {"score": scores[order]})
    fit = mfrm.fit(ratings.successes, ratings.trials, method="laplace")
    np.testing.assert_allclose(
        fit.score, mfrm.fit(scores.reshape(4, 8, 3, 2), method="laplace").score, atol=1e-6
    )
