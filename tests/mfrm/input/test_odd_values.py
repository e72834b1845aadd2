"""Missing codes, words for numbers, labels that look alike, rows that stand twice."""

import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.input.counts import as_counts
from dignified_jax.mfrm.input.levels import doubts
from dignified_jax.mfrm.input.scores import as_number, suspects
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.result import ALL_SUCCESSES
from dignified_jax.mfrm.sparse.selection import select


def table(scores, **columns):
    size = len(scores)
    found = {"model": ["a", "b"] * (size // 2), "question": list(np.arange(size) // 2)}
    return found | {"judge": ["x"] * size, "rubric": ["r"] * size, "score": scores} | columns


@pytest.mark.parametrize("blank", ["", None, float("nan"), "  "])
def test_blank_scores_are_left_out_on_request(blank):
    with pytest.raises(ValueError, match="score is missing: row 2"):
        mfrm.from_long(table([1, blank, 0, 1]))
    with pytest.warns(UserWarning, match="1 of 4 rows left out"):
        found = mfrm.from_long(table([1, blank, 0, 1]), missing=())
    assert found.trials.sum() == 3 and "score missing: blank (1)" in found.notes[0]


def test_codes_are_left_out_and_counted():
    scores = ["5", "-1", "99", "4", "NA", "99.0"]
    with pytest.warns(UserWarning):
        found = mfrm.from_long(table(scores), threshold=3, missing=(-1, "99", "NA"))
    assert found.trials.sum() == 2 and found.successes.sum() == 2
    assert found.notes[0].startswith("4 of 6 rows left out, score missing: ")


def test_number_codes_are_of_scores_and_text_codes_of_labels_too():
    columns = {"question": [99, 99, 1, 1], "judge": ["x", "NA", "x", "x"]}
    with pytest.warns(UserWarning):
        found = mfrm.from_long(table([1, 0, 99, 1], **columns), missing=(99, "NA"))
    assert found.labels["question"] == (1, 99) and found.labels["judge"] == ("x",)
    assert "question is equal to a code for missing scores in 1 rows" in found.notes[2]
    assert found.trials.sum() == 2


def test_all_missing_is_an_error_that_tells_why():
    with pytest.raises(ValueError, match=r"no rows .2 of 2 rows left out"):
        mfrm.from_long(table(["", ""]), missing=())


def test_undeclared_codes_are_flagged_and_refused_by_a_range():
    scores = [1, 2, 3, 4, 5, -1, 99, 3]
    with pytest.warns(UserWarning, match=r"-1 \(1 rows\), 99 \(1 rows\) may stand for a missing"):
        mfrm.from_long(table(scores), threshold=3)
    with pytest.raises(ValueError, match=r"from 1 to 5: row 6 \(found -1\), 7 \(found 99\)"):
        mfrm.from_long(table(scores), threshold=3, score_range=(1, 5))


@pytest.mark.parametrize(
    ("scores", "found"),
    [
        ([1, 2, 3, 4, 5, 9], [9]),
        ([1, 2, 3, 4, 5, 999], [999]),
        ([0, 1, 2, 3, 4, -1], [-1]),
        ([-2, -1, 0, 1, 2], []),
        (list(range(101)), []),
        (list(range(1, 11)), []),
        ([0.5, 2.25, 3.0, 7.0], []),
        ([0, 1, -9], [-9]),
    ],
)
def test_codes_stand_apart(scores, found):
    assert suspects(np.repeat(np.array(scores, float), 3)) == found


def test_words_are_yes_and_no():
    found = mfrm.from_long(table(["True", "no", "YES", "false", "T", "n"]))
    assert found.successes.sum() == 3
    with pytest.raises(ValueError, match="not a finite number"):
        mfrm.from_long(table(["True", "no"]), threshold=1)


@pytest.mark.parametrize("text", ["0_1", "\u0661", "0x1", "1e400", "inf", "1,5"])
def test_what_only_python_reads_as_a_number_is_refused(text):
    assert not np.isfinite(as_number(text))
    with pytest.raises(ValueError, match="not a finite number: row 2"):
        mfrm.from_long(table([1, text]))


def test_codes_in_a_score_name_their_cure():
    with pytest.raises(ValueError, match=r"row 2 \(found 'NA'\); name what .* --missing"):
        mfrm.from_long(table([1, "NA"]))


@pytest.mark.parametrize(
    "labels",
    [
        ("j0", "j0 "),
        ("j1", "J1"),
        ("01", "1"),
        (1, "1"),
        ("1", "1.0"),
        ("a b", "a\u00a0b"),
        ("\uff2a1", "j1"),
        ("Caf\u00e9", "Cafe\u0301"),
        ("a\u200bb", "ab"),
        ("a\u2011b", "a-b"),
        ("a_b", "a-b"),
        ("\u0430nn", "ann"),  # the first letter is Cyrillic
    ],
)
def test_labels_that_look_alike_are_told(labels):
    assert "look alike" in doubts("judge", labels)[0]
    with pytest.warns(UserWarning, match="judge labels that look alike"):
        found = mfrm.from_long(table([1, 0], judge=list(labels)))
    assert len(found.labels["judge"]) == 2


def test_different_labels_are_not():
    assert doubts("judge", ("j1", "j10", "j100", "1.10", "1.1")) == []
    assert doubts("question", ("12345678901234567890", "12345678901234567891")) == []
    assert "level of its own" in doubts("judge", ("a", "NA"))[0]


def test_whole_floats_are_integers():
    assert mfrm.from_long(table([1, 0], judge=[1.0, 2.0])).labels["judge"] == (1, 2)


def test_lists_are_no_labels():
    with pytest.raises(ValueError, match=r"model must hold labels: row 1 is a list, \['a'\]"):
        mfrm.from_long(table([1, 0], model=[["a"], ["b"]]))


def test_rows_that_stand_twice_are_counted():
    once = table([1, 0, 0, 1])
    assert mfrm.from_long(once).notes == ()
    with pytest.warns(UserWarning, match="12 of 16 rows repeat another one's labels and score"):
        found = mfrm.from_long({name: list(values) * 4 for name, values in once.items()})
    assert found.trials.max() == 4


def test_a_long_value_does_not_fill_the_message():
    with pytest.raises(ValueError, match="not a finite number") as error:
        mfrm.from_long(table([1, "x" * 10**6]))
    assert len(str(error.value)) < 250


def test_a_coarser_grid_is_the_scale():
    found = mfrm.from_long(table([0, 5, 50, 100]), categories=(0, 100))
    assert found.categories == tuple(range(0, 101, 5)) and found.counts.shape[-1] == 21
    assert mfrm.from_long(table([1, 2, 2, 5]), categories=(1, 5)).categories == (1, 2, 3, 4, 5)


def test_half_points_are_categories():
    with pytest.warns(UserWarning, match=r"score has half points in 1 of 4 rows: .* 9 categories"):
        found = mfrm.from_long(table([1, 2.5, 4, 5]), categories=(1, 5))
    assert found.categories == (1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5)
    assert found.counts.sum(axis=(0, 1, 2, 3)).tolist() == [1, 0, 0, 1, 0, 0, 1, 0, 1]
    with pytest.warns(UserWarning):
        found = mfrm.from_long(table(["-.5", ".5", 1.5, 0.5]), categories=(-0.5, 1.5))
    assert found.categories == (-0.5, 0.5, 1.5)  # on a grid of their own
    with pytest.raises(ValueError, match=r"one and a half, .*row 2 \(found 4.6667\); round means"):
        mfrm.from_long(table([1, 4.6667]), categories=(1, 5))


def test_one_score_only_is_told_as_it_was_given():
    with pytest.raises(ValueError, match="all 4 scores are 3: there is nothing to compare"):
        mfrm.from_long(table([3, 3, 3, 3]), categories=(1, 5))


def test_decimal_commas_name_their_cure():
    with pytest.raises(ValueError, match=r"row 1 .*; write numbers with a decimal point"):
        mfrm.from_long(table(["2,5", "1"]), threshold=2)


def test_impossible_scores_that_are_codes_name_their_cure():
    with pytest.raises(ValueError, match=r"from 1 to 5: row 2 \(found 99\); name what stands for"):
        mfrm.from_long(table([1, 99]), categories=(1, 5))
    with pytest.raises(ValueError, match=r"must be 0 or 1 .*: row 2 \(found -1\); name what"):
        mfrm.from_long(table([1, -1]))


def test_rows_of_no_judgments_are_left_out():
    """And with them levels that have no others."""
    with pytest.warns(UserWarning, match="2 rows of 0 n left out"):
        found = mfrm.from_long(table([1, 0, 0, 0], n=[1, 1, 0, 0]), trials="n")
    assert found.labels["question"] == (0,) and found.trials.sum() == 2
    with pytest.raises(ValueError, match=r"has no rows .2 rows of 0 n left out"):
        mfrm.from_long(table([0, 0], n=[0, 0]), trials="n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": float("nan")}, "threshold must be finite, found nan"),
        ({"threshold": 3, "score_range": (1, float("inf"))}, "score_range must be finite"),
        ({"threshold": 3, "score_range": (5, 1)}, r"lowest and the highest score, found \(5, 1\)"),
        ({"categories": (1, 10**8)}, "100,000,000, of at most 1,001"),
    ],
)
def test_impossible_scales_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        mfrm.from_long(table([1, 5, 2, 4]), **options)


def test_more_trials_than_can_be_counted():
    with pytest.raises(ValueError, match="at most 2,147,483,647 can be counted"):
        mfrm.from_long(table([1, 1, 0, 1], n=[1, 2**31, 1, 1]), trials="n")


def test_counts_beyond_32_bits_do_not_wrap_around():
    """JAX keeps integers of 64 bits in 32 unless told otherwise: 2^32 + 5 was 5."""
    counts = np.full((1, 1, 1, 1), 2**32 + 5)
    for found in as_counts(counts, counts.astype(np.uint64)):
        np.testing.assert_allclose(found, 2.0**32, rtol=1e-6)
    np.testing.assert_allclose(as_counts(counts.tolist(), None)[0], 2.0**32, rtol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint64])
def test_lists_of_numbers_in_any_type(kind):
    """Cells are numbered by model and question, beyond what small types hold."""
    place = np.indices((20, 20, 2)).reshape(3, -1).astype(kind)
    ones = np.ones(place.shape[1], kind)
    labels = {"model": range(20), "question": range(20), "judge": range(2), "rubric": (None,)}
    found = SparseRatings(*place, 0 * ones, ones, ones, labels, {"wording": place[2]})
    names = ("model", "question", "judge", "rubric")
    index = {name: getattr(found, name) for name in names} | found.extra
    assert all(levels.dtype == np.int64 for levels in index.values())
    part = select(index | {"rubric": found.rubric[None]}, ones, ones, (20, 20, 2, 1))
    assert (part.extreme.cell == ALL_SUCCESSES).all()
