"""Figures: files that are there, white, and whose names do not cover each other."""

import subprocess
import sys
import types

import numpy as np
import pytest
import scipy.optimize

from dignified_jax import mfrm
from dignified_jax.mfrm.report import plots, scale_plots, wright
from dignified_jax.mfrm.report.figures import as_svg, save
from dignified_jax.mfrm.report.names import (
    drawn_names,
    font_families,
    key_of_numbers,
    together,
)
from dignified_jax.mfrm.report.sparse_figures import _shift
from tests.mfrm.sparse.test_ordinal import as_list

pytestmark = pytest.mark.wiring

pytest.importorskip("matplotlib")


def invented(sizes, seed=0):
    """As much of a fit, its diagnostics and labels as figures show: models in clusters, the
    seventh of infinite score."""
    rng = np.random.default_rng(seed)
    measures = {facet: rng.normal(size=size) for facet, size in sizes.items()}
    measures["model"] = 0.03 * measures["model"] + np.arange(sizes["model"]) // 5
    measures["model"][6:7] = np.inf
    errors = {facet: np.full(size, 0.1) for facet, size in sizes.items()}
    fit = {"score" if facet == "model" else facet: values for facet, values in measures.items()}
    error = {"score" if facet == "model" else facet: values for facet, values in errors.items()}
    statistics = {
        facet: types.SimpleNamespace(
            count=np.full(size, 50),
            observed=rng.integers(5, 45, size),
            infit=rng.normal(0.9, 0.05, size),
        )
        for facet, size in sizes.items()
    }
    about = {
        facet: types.SimpleNamespace(
            statistics=s,
            measure=np.where(np.isfinite(measures[facet]), measures[facet], 5.5),
            standard_error=errors[facet],
        )
        for facet, s in statistics.items()
    }
    overall = types.SimpleNamespace(infit=np.float32(0.9))
    labels = {facet: [f"{facet} {n}" for n in range(size)] for facet, size in sizes.items()}
    labels["model"] = [f"a long-named $family_of models-{n:02}" for n in range(sizes["model"])]
    return (
        types.SimpleNamespace(**fit, step=None, standard_error=types.SimpleNamespace(**error)),
        types.SimpleNamespace(**about, overall=overall),
        labels,
    )


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """Name -> (figure, its file)."""
    fit, about, labels = invented({"model": 20, "question": 30, "judge": 3, "rubric": 2})
    directory = tmp_path_factory.mktemp("figures")
    drawn = {
        "wright_map": wright.draw_wright_map(fit, labels),
        "calibration_shift": plots.draw_calibration_shift(fit, about, labels),
        "fit_plot": plots.draw_fit_plot(fit, about, labels),
    }
    for name, figure in drawn.items():
        save(figure, directory / f"{name}.png")
    return {name: (figure, directory / f"{name}.png") for name, figure in drawn.items()}


def test_files_are_white_png(figures):
    import matplotlib.image

    assert set(figures) == {"wright_map", "calibration_shift", "fit_plot"}
    for _, path in figures.values():
        assert path.read_bytes().startswith(b"\x89PNG\r\n")
        image = matplotlib.image.imread(path)
        assert image.shape[1] > 1000
        assert (image[[0, 0, -1, -1], [0, -1, 0, -1]] == 1).all()  # opaque white
        assert (image[..., :3].min(axis=2) < 0.5).mean() > 0.005  # something is drawn


def test_names_do_not_overlap(figures):
    from matplotlib.text import Annotation, Text

    for name, (figure, _) in figures.items():
        renderer = figure._get_renderer()
        texts = []
        for axes in figure.axes:
            if name == "calibration_shift":
                texts += axes.get_yticklabels()
            texts += [text for text in axes.texts if isinstance(text, Text)]
        # Of an annotation the text alone, not its leader.
        boxes = [
            Text.get_window_extent(text, renderer)
            if isinstance(text, Annotation)
            else text.get_window_extent(renderer)
            for text in texts
        ]
        assert len(boxes) >= 10, name
        for index, box in enumerate(boxes):
            assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, (name, texts[index].get_text())
            for other in range(index):
                assert not box.overlaps(boxes[other]), (
                    name,
                    texts[index].get_text(),
                    texts[other].get_text(),
                )


def test_models_without_a_finite_score_are_there(figures):
    axes = figures["calibration_shift"][0].axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == 20 and any("models-06" in name for name in names)
    drawn = [text.get_text() for text in figures["wright_map"][0].axes[0].texts]
    assert any("models-06" in name for name in drawn)


def test_a_label_stays_in_its_svg():
    fit, _, labels = invented({"model": 2, "question": 1, "judge": 2, "rubric": 1})
    labels["judge"] = ["--><script>alert(1)</script>", "<b>&amp;"]
    text = as_svg(wright.draw_wright_map(fit, labels))
    assert text.startswith("<svg") and text.rstrip().endswith("</svg>")
    for part in ("<!--", "-->", "script", "<b>", "http://127", "<text"):
        assert part not in text


@pytest.fixture(scope="module")
def scale():
    step = np.array([[-1.0, 0.2, 1.1], [0.5, -0.5, 1.0]])
    return types.SimpleNamespace(step=step, score=np.zeros(2))


def test_category_curves_are_drawn_by_item(scale):
    labels = {"rubric": ["tone", "depth"]}
    figure = scale_plots.draw_category_plot(scale, labels, (1, 2, 3, 4))
    first = figure.axes[0]
    assert [text.get_text() for text in first.texts] == ["1", "2", "3", "4"]
    assert "depth" in figure.axes[1].get_title()
    # Category 2 is the most likely between its thresholds, -1 and 0.2.
    x, y = first.lines[1].get_data()
    chance = np.exp(x[:, None] * np.arange(4) - [0, -1, -0.8, 0.3])
    np.testing.assert_allclose(y, chance[:, 1] / chance.sum(axis=1), atol=1e-9)


def test_bias_is_written_on_sure_pairs_only():
    bias = np.array([[1.5, -0.2], [np.inf, np.nan]])
    q = np.array([[0.01, 0.6], [0.04, np.nan]])
    found = types.SimpleNamespace(bias=bias, q=q, z=np.array([[3.0, -1.0], [2.5, np.nan]]))
    labels = {"judge": ["a", "b"], "model": ["x", "y"]}
    axes = scale_plots.draw_bias_plot(found, labels, ("judge", "model")).axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "+1.5", (0, 1): "+\N{INFINITY}"}
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]


def test_the_map_has_a_column_of_scores(scale):
    """Of an ordinal fit: categories where the mean model is expected to get them."""
    fit, _, labels = invented({"model": 4, "question": 3, "judge": 2, "rubric": 2})
    fit.step = scale.step[:1]
    axes = wright.draw_wright_map(fit, labels, categories=(1, 2, 3, 4)).axes[-1]
    offset = sum(np.mean(getattr(fit, name)) for name in ("judge", "rubric", "question"))
    for text in axes.texts:
        k = int(text.get_text()) - 1
        x = text.get_position()[1] - offset
        if k == 3:  # beyond the map: at its edge
            assert 0 < axes.get_ylim()[1] - text.get_position()[1] < 0.1
            continue
        weight = np.exp(x * np.arange(4) - [0, -1, -0.8, 0.3])
        expected = weight @ np.arange(4) / weight.sum()
        assert abs(expected - np.clip(k, 0.25, 2.75)) < 1e-3
    assert len(axes.texts) >= 2


def test_extreme_levels_stand_at_the_edge():
    """With their adjusted measure, and without stretching the map."""
    fit, about, labels = invented({"model": 8, "question": 3, "judge": 2, "rubric": 2})
    axes = wright.draw_wright_map(fit, labels, about).axes[0]
    high = axes.get_ylim()[1]
    assert high < 2.5  # the adjusted measure is 5.5
    assert [text.get_text() for text in axes.texts if "models-06" in text.get_text()] == [
        text.get_text() for text in axes.texts if text.get_text().endswith("(+5.5)")
    ]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    np.testing.assert_allclose(hollow[0].get_ydata(), high - wright.EDGE)


def test_names_stay_distinct_and_share_a_mark():
    names = drawn_names([f"meta-llama/Llama-3.{n}-8B-Instruct-converted" for n in "123"], "judge")
    assert len(set(names)) == 3
    first, texts = together([(0.0,), (1.0,), (0.0,), (0.0,), (0.0,)], list("abcde"), 0.1)
    assert (first, texts) == ([0, 1], ["a, c, d and 1 more", "b"])


def test_letters_without_a_font_become_a_number(monkeypatch):
    monkeypatch.setattr("matplotlib.font_manager.fontManager.ttflist", [])
    names = ["plain", "\u8a55\u4fa1", "caf\u00e9"]
    numbered = ["plain", "judge #2", "caf\u00e9"]
    assert drawn_names(names, "judge") == numbered
    told = key_of_numbers(names, "judge")
    assert told == "in figures, for want of a font: judge #2 is \u8a55\u4fa1"
    assert key_of_numbers(["plain"], "judge") == ""
    # matplotlib's own font of last resort has boxes for letters.
    boxes = types.SimpleNamespace(name="Last Resort High-Efficiency", fname="none")
    monkeypatch.setattr("matplotlib.font_manager.fontManager.ttflist", [boxes])
    monkeypatch.setattr(
        "dignified_jax.mfrm.report.names._letters",
        lambda file, wanted: wanted if file == "none" else wanted & {"\u00e9"},
    )
    assert drawn_names(names, "judge") == numbered
    # Two fonts together have what neither has.
    fonts = [types.SimpleNamespace(name=name, fname=name) for name in ("\u8a55", "\u4fa1")]
    monkeypatch.setattr("matplotlib.font_manager.fontManager.ttflist", fonts)
    monkeypatch.setattr(
        "dignified_jax.mfrm.report.names._letters", lambda file, wanted: wanted & {"\u00e9", file}
    )
    assert drawn_names(names, "judge") == names
    assert font_families("".join(names)) == (["DejaVu Sans", "\u4fa1", "\u8a55"], set())


@pytest.mark.parametrize("seed", range(3))
def test_spreading_is_the_nearest_in_squares(seed):
    values = np.random.default_rng(seed).normal(size=7)
    places = plots.spread_apart(values, 0.5, -10.0, 10.0)
    order = np.argsort(values)
    found = scipy.optimize.minimize(
        lambda y: ((y - values[order]) ** 2).sum(),
        np.arange(7) * 0.6,
        constraints={"type": "ineq", "fun": lambda y: np.diff(y) - 0.5},
        options={"ftol": 1e-14},
    )
    np.testing.assert_allclose(places[order], found.x, atol=1e-5)


def test_spreading_stays_in_range():
    places = plots.spread_apart(np.array([0.9, 0.95, 1.0]), 0.3, 0.0, 1.0)
    np.testing.assert_allclose(places, [0.4, 0.7, 1.0])
    crowded = plots.spread_apart(np.zeros(10), 0.3, 0.0, 1.0)
    assert crowded.min() >= 0 and crowded.max() <= 1 and np.diff(crowded).min() > 0.09
    assert plots.spread_apart(np.zeros(0), 0.3, 0.0, 1.0).size == 0


def test_a_single_level_each(tmp_path):
    """Nothing to compare: figures with little in them, no failure."""
    fit, about, labels = invented({"model": 1, "question": 1, "judge": 1, "rubric": 1})
    plots.wright_map(tmp_path / "w.png", fit, labels)
    plots.calibration_shift(tmp_path / "c.png", fit, about, labels)
    plots.fit_plot(tmp_path / "f.png", fit, about, labels)
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_matplotlib_is_not_imported_with_the_package():
    code = "import sys, dignified_jax.mfrm.report.plots; print('matplotlib' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


def test_raw_means_of_a_scale_whose_lowest_score_nobody_gave():
    """They are where `shifts` has them: a category that is closed up moves nothing."""
    rng = np.random.default_rng(0)
    level = 2.5 + 0.5 * np.arange(-1, 2)[:, None, None, None]
    given = np.clip(np.round(rng.normal(level, 0.9, size=(3, 12, 2, 2))), 1, 4).astype(int)
    given = np.concatenate([np.ones_like(given[:1]), given])  # a model of lowest scores only
    counts, labels = np.eye(5, dtype=int)[given], {"model": "abcd"}
    fit = mfrm.fit(counts, model="rating_scale", method="ridge")
    about = mfrm.diagnose(fit, counts)
    model = types.SimpleNamespace(
        measure=np.asarray(about.model.measure),
        standard_error=np.asarray(about.model.standard_error),
        count=np.full(4, 48.0),
    )
    ratings = as_list(counts, (0, 1, 2, 3, 4))
    listed = types.SimpleNamespace(fit=fit, ratings=ratings, statistics={"model": model})
    drawn = [
        next(line.get_xdata() for line in figure.axes[0].lines if line.get_marker() == "D")
        for figure in (plots.draw_calibration_shift(fit, about, labels), _shift(listed))
    ]
    assert np.isneginf(fit.step[0, 0]) and np.isneginf(fit.score[0])
    np.testing.assert_allclose(drawn[0][1:], mfrm.shifts(fit, counts).raw[1:], atol=1e-4)
    assert len(drawn[0]) == 4 and drawn[0][0] < drawn[0][1] - 1
    np.testing.assert_allclose(*drawn)
