"""The figures of a comparison: what they draw, and in what colours."""

import matplotlib.style
import numpy as np
import pytest
from PIL import Image

from dignified_jax.comparison import figures
from dignified_jax.comparison.results import ScoredRun, summarise
from dignified_jax.console.figure import curve_style
from tests.comparison.conftest import score


def lines(axes):
    return [(line.get_label(), *map(list, line.get_data())) for line in axes.get_lines()]


def test_the_radar_has_a_panel_a_method_over_the_outline_of_one(made_up):
    figure = figures.radar(made_up)
    lagdpo, soup = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["lagdpo", "soup"]
    ((_, turn, values),) = lines(lagdpo)
    np.testing.assert_allclose(turn, [0.0, np.pi, 0.0])
    np.testing.assert_allclose(values, [0.7, 0.8, 0.7])  # means over seeds, closed
    outline, own = lines(soup)
    np.testing.assert_allclose(outline[2], [0.7, 0.8, 0.7])
    np.testing.assert_allclose(own[2], [1.6 / 3, 0.9, 1.6 / 3])
    assert [tick.get_text() for tick in soup.get_xticklabels()] == ["A", "E"]
    assert soup.get_ylim() == pytest.approx((0.5, 1.0))


def test_the_pareto_plot_has_means_with_their_intervals(made_up):
    (axes,) = figures.pareto(made_up).axes
    bars = {c.get_label(): c for c in axes.containers}
    point, _, (across, up) = bars["lagdpo"].lines
    np.testing.assert_allclose(np.array(point.get_data(), float), [[0.2], [2 / 3]])
    half = made_up.means["lagdpo"]["kl"].half
    np.testing.assert_allclose(
        np.array(across.get_segments()[0], float)[:, 0], [0.2 - half, 0.2 + half]
    )
    half = made_up.means["lagdpo"]["worst_accuracy"].half
    np.testing.assert_allclose(
        np.array(up.get_segments()[0], float)[:, 1], [2 / 3 - half, 2 / 3 + half]
    )


def test_the_frontier_is_what_none_outdoes():
    points = {
        **{"best": (0.3, 0.9), "cheap": (0.1, 0.5), "twin": (0.1, 0.5), "dear": (0.4, 0.9)},
        **{"low": (0.2, 0.4), "middle": (0.2, 0.7)},
    }
    assert figures.frontier(points) == ["cheap", "twin", "middle", "best"]


def test_one_seed_has_no_bars(made_up):
    one = summarise(made_up.records[:1], "lagdpo")
    (axes,) = figures.pareto(one).axes
    assert axes.containers[0].lines[2] == ()
    assert axes.get_title() == "mean of 1 seed"


def test_convergence_draws_the_curves_given(made_up):
    curve = (np.array([10, 20]), np.array([0.6, 0.5]))
    (axes,) = figures.convergence({"soup": curve}, made_up).axes
    soup, log_2 = lines(axes)
    assert soup == ("soup", [10, 20], [0.6, 0.5])
    assert log_2[2] == pytest.approx([np.log(2)] * 2)


def test_many_methods_differ_without_colour():
    records = [ScoredRun(f"m{i}", 0, score((0.5, 0.6), kl=0.01 * i)) for i in range(11)]
    results = summarise(records, "m0")
    looks = {(style["marker"], str(style["linestyle"])) for style in map(curve_style, range(11))}
    assert len(looks) == 11
    assert len(figures.radar(results).axes) == 11


@pytest.mark.parametrize("draw", [figures.radar, figures.pareto], ids=lambda f: f.__name__)
def test_a_dark_style_of_the_user_changes_no_colour(draw, made_up, tmp_path):
    """Dark ink on an opaque white page."""
    draw(made_up).savefig(tmp_path / "plain.png", dpi=60)
    with matplotlib.rc_context():
        matplotlib.style.use("dark_background")
        draw(made_up).savefig(tmp_path / "dark.png", dpi=60)
    plain, dark = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("plain", "dark"))
    np.testing.assert_array_equal(plain, dark)
    assert (plain[[0, -1]][:, [0, -1]] == 255).all()


@pytest.mark.parametrize(
    "names", [("x" * 64,), tuple(f"dimension_{k}" for k in range(16))], ids=len
)
def test_the_radar_has_a_key_where_names_are_long(names):
    """Numbers at the spokes, every name in the key, and nothing beyond the picture's edge."""
    row = {"pairs": 1, "loss": 0.5, "accuracy": 0.7, "margin": 0.1, "longer": 0.5}
    score = {"kl": 0.1, "dimensions": dict.fromkeys(names, row)}
    figure = figures.radar(summarise([ScoredRun("dpo", 0, score)], "dpo"))
    (axes,) = figure.axes
    numbers = [tick.get_text() for tick in axes.get_xticklabels()]
    assert numbers == [str(number) for number in range(1, len(names) + 1)]
    key = figure.get_supxlabel().replace("\n", "    ").split("    ")
    assert key == [f"{number}\u00a0{name}" for number, name in zip(numbers, names, strict=True)]
    figure.draw_without_rendering()
    box = figure._supxlabel.get_window_extent()
    assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
