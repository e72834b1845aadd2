"""Lines, tables and plots of one dimension, of sixteen, and of long names."""

import json

import pytest

from dignified_jax.training.display import plots, status_text, summary

SIXTEEN = tuple(f"dimension_{number}" for number in range(16))
LONGEST = ("x" * 63 + "1", "x" * 63 + "2")


def flat(dimensions, **keys):
    """Metric number k of a key is its start + k / 100."""
    return {"step": 12, "tokens_per_second": 6712.0} | {
        f"{key}/{dimension}": start + k / 100
        for key, start in keys.items()
        for k, dimension in enumerate(dimensions)
    }


def test_a_line_with_room_names_every_dimension():
    values = flat(("kind", "brief"), loss=0.5)
    status = status_text.status(
        values, 12, 27, elapsed=1.0, left=None, dimensions=("kind", "brief")
    )
    assert status.split("\n")[1] == "loss kind 0.500 brief 0.510"


def test_a_line_without_room_names_the_worst():
    values = flat(SIXTEEN, loss=0.5, **{"lambda": 0.1})
    status = status_text.status(values, 12, 27, elapsed=1.0, left=None, dimensions=SIXTEEN)
    assert status.split("\n")[1] == (
        "loss 0.575 worst dimension_15 0.650 lambda 0.18 worst dimension_15 0.25"
    )
    held_out = flat(SIXTEEN, **{"eval/loss": 0.5, "eval/rewards/accuracies": 0.8})
    assert status_text.evaluation(held_out, 50, SIXTEEN) == (
        "eval 50 loss 0.575 worst dimension_15 0.650 acc 0.88 worst dimension_0 0.80"
    )


def test_table_with_columns_as_wide_as_names():
    names = ("kind", "brief")
    values = flat(names, loss=0.5, **{"lambda": 0.1})
    assert status_text.table_header(values, names) == (
        "       step loss kind brief lambda kind brief   tok/s    left"
    )
    assert status_text.table_line(values, 27, None, names) == (
        "      12/27     0.500 0.510        0.10  0.11    6.7k       -"
    )


def test_table_of_sixteen_has_mean_and_worst():
    values = flat(SIXTEEN, loss=0.5, **{"lambda": 0.1})
    del values["loss/dimension_15"]
    assert status_text.table_header(values, SIXTEEN) == (
        "       step   loss  worst of              lambda of               tok/s    left"
    )
    assert status_text.table_line(values, 27, 101.0, SIXTEEN) == (
        "      12/27  0.570  0.640 dimension_14      0.25 dimension_15      6.7k    1:41"
    )
    line = status_text.table_line({"step": 3}, 27, None, SIXTEEN)
    assert line.split() == ["3/27", *"-----"]


@pytest.mark.parametrize(
    "dimensions", [LONGEST[:1], LONGEST, SIXTEEN, tuple("ABCDEFGHIJKLMNOP")], ids=len
)
def test_no_line_is_too_wide(dimensions):
    values = flat(dimensions, loss=99.9, **{"lambda": 10.0})
    values |= flat(dimensions, **{"eval/loss": 99.9, "eval/rewards/accuracies": 0.99})
    header = status_text.table_header(values, dimensions)
    line = status_text.table_line(values, 99999, 1e6, dimensions)
    status = status_text.status(values, 1, 99999, elapsed=1e5, left=1e6, dimensions=dimensions)
    lines = [header, line, *status.split("\n")]
    lines += [status_text.evaluation(values, 99999, dimensions)]
    assert len(header) == len(line)
    assert max(map(len, lines)) <= status_text.WIDTH


def test_shortened_names_keep_their_ends():
    short = [status_text._shortened(name, 14) for name in (*LONGEST, "a_name_that_fi")]
    assert short == ["xxxxxxx~xxxxx1", "xxxxxxx~xxxxx2", "a_name_that_fi"]


def test_final_table_with_long_names():
    row = {"pairs": 3, "loss": 0.5, "accuracy": 0.7, "margin": 0.1, "longer": 0.5, "lambda": None}
    result = {
        "rows": "rows of t",
        "step": 9,
        "method": "dpo",
        "worst": LONGEST[0],
        "at_lambda_max": [],
    }
    lines = summary.table(result | {"dimensions": dict.fromkeys(LONGEST, row)}).splitlines()
    assert len({len(line) for line in lines[1:4]}) == 1
    assert lines[2].startswith(LONGEST[0] + "  ") and LONGEST[0] in lines[4]


@pytest.mark.parametrize("dimensions", [LONGEST[:1], LONGEST, SIXTEEN], ids=len)
def test_plots_show_every_dimension_apart_and_whole(dimensions, tmp_path, monkeypatch):
    """No title or legend is cut off by the edge of the picture, or overlaps another title."""
    figures = {}
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig",
        lambda figure, path, **options: figures.update({path.stem: figure}),
    )
    config = {"method": {"epsilon": [0.5]}, "data": {"dimensions": dimensions}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    keys = {"loss": 0.5, "lambda": 0.1, "eval/loss": 0.5}
    records = [flat(dimensions, **keys) | {"step": step} for step in range(1, 9)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    plots.write(tmp_path)
    assert set(figures) == {"losses", "lambda"}
    assert len(figures["losses"].axes) == len(dimensions)
    (axes,) = figures["lambda"].axes
    looks = {
        (line.get_color(), str(line._unscaled_dash_pattern), line.get_marker())
        for line in axes.lines
    }
    assert len(looks) == len(axes.lines) == len(dimensions)
    for figure in figures.values():
        figure.draw_without_rendering()
        whole = figure.bbox
        titles = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
        for box in (*titles, figure.legends[0].get_window_extent()):
            assert whole.x0 <= box.x0 and box.x1 <= whole.x1
            assert whole.y0 <= box.y0 and box.y1 <= whole.y1
        for i, title in enumerate(titles):
            assert not any(title.overlaps(other) for other in titles[:i])
