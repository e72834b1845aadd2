"""The lines of a run as a person sees them, and that none is too wide."""

import itertools

import pytest

from dignified_jax.training.display import status_text

FLAT = {
    "step": 12,
    "loss": 0.4567,
    **{"loss/A": 0.67349, "loss/T": 12.3456, "loss/C": 0.3},
    **{"lambda/A": 0.0, "lambda/T": 10.0, "lambda/E": 0.157, "lambda/C": 0.049},
    "tokens_per_second": 6712.0,
}
EVALUATED = {
    **{"eval/loss/A": 0.4751, "eval/loss/T": 0.5, "eval/loss/E": 0.35, "eval/loss/C": 0.1881},
    **{"eval/rewards/accuracies/A": 0.9, "eval/rewards/accuracies/T": 0.818},
    **{"eval/rewards/accuracies/E": 1.0, "eval/rewards/accuracies/C": 0.5},
}
SFT = {"step": 3, "loss": 5.7, "loss/A": 5.7683, "loss/T": 5.5, "loss/E": 5.1, "loss/C": 5.0}


def test_status():
    """E is absent from the batch: it keeps its lambda and has no loss."""
    bar, values = status_text.status(FLAT, 12, 27, elapsed=80.4, left=3701.0).split("\n")
    assert bar == (
        "12/27 [############---------------] 44%  1:20 elapsed  1:01:41 left  6.7k tok/s"
    )
    assert values == "loss A 0.673 T 12.35 E     - C 0.300 lambda A 0.00 T 10.0 E 0.16 C 0.05"


def test_the_bar_is_as_long_as_the_share_done():
    for step in (0, 1, 10, 19, 20):
        bar = status_text.status(FLAT, step, 20, elapsed=60.0, left=None).split("\n")[0]
        inside = bar.split("[")[1].split("]")[0]
        assert len(bar) == status_text.WIDTH
        assert inside.count("#") == len(inside) * step // 20
        assert inside.strip("#").strip("-") == ""


def test_before_the_first_step_the_status_says_that_it_compiles():
    bar, what = status_text.status({}, 0, 27, elapsed=95.0, left=None).split("\n")
    assert bar.startswith("0/27 [--") and bar.endswith("--] 0%  1:35 elapsed")
    assert what == status_text.COMPILING


def test_table():
    assert status_text.table_header(FLAT) == (
        "       step  loss A     T     E     C lambda A    T    E    C   tok/s    left"
    )
    assert status_text.table_line(FLAT, 27, 101.0) == (
        "      12/27   0.673 12.35     - 0.300     0.00 10.0 0.16 0.05    6.7k    1:41"
    )


def test_table_without_multipliers_and_throughput():
    assert status_text.table_header(SFT) == "       step  loss A     T     E     C   tok/s    left"
    assert (
        status_text.table_line(SFT, 9, None)
        == "        3/9   5.768 5.500 5.100 5.000       -       -"
    )


def test_evaluation():
    assert status_text.evaluation(EVALUATED, 50) == (
        "eval 50 loss A 0.475 T 0.500 E 0.350 C 0.188 acc A 0.90 T 0.82 E 1.00 C 0.50"
    )
    assert status_text.evaluation({"eval/loss/A": 0.5, "loss/T": 9.0}, 7) == (
        "eval 7 loss A 0.500 T     - E     - C     -"
    )


def test_no_line_is_too_wide_or_of_another_width():
    """Whatever the values; the columns of a table stay where they are."""
    values = (
        0.0,
        5e-9,
        0.99999,
        9.9999,
        123.456,
        98765.4,
        1e12,
        -1e12,
        float("nan"),
        -float("inf"),
    )
    durations = (0.0, 59.6, 3599.7, 35999.7, 359999.7, 9e6)
    width = len(status_text.table_header(FLAT))
    assert width <= status_text.WIDTH
    for value, seconds, absent in itertools.product(values, durations, (True, False)):
        flat = {f"{key}/{k}": value for key in ("loss", "lambda") for k in "ATEC"}
        if absent:
            del flat["loss/E"]
        flat |= {"step": 99999, "tokens_per_second": abs(value)}
        assert len(status_text.table_line(flat, 99999, seconds)) == width
        status = status_text.status(flat, 99998, 99999, elapsed=seconds, left=seconds).split("\n")
        assert len(status) == 2
        assert max(map(len, status)) <= status_text.WIDTH
        held_out = {
            f"eval/{key}/{k}": value for key in ("loss", "rewards/accuracies") for k in "ATEC"
        }
        assert len(status_text.evaluation(held_out, 99999)) <= status_text.WIDTH


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (3599.6, "1:00:00"),
        (3661, "1:01:01"),
        (43500, "12h 05m"),
        (359999, "99h 59m"),
        (360000, "4d 04h"),
    ],
)
def test_durations(seconds, text):
    assert status_text.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.4, "0"), (312.4, "312"), (6712, "6.7k"), (1.25e6, "1.2M"), (3e9, "3.0G")]
)
def test_compact_numbers(value, text):
    assert status_text.compact(value) == text
