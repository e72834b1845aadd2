"""The plots of whole and degenerate runs: which files, what they draw, and in what colours."""

import json
import math
import subprocess
import sys

import matplotlib.style
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dignified_jax.training.display import plots

LAGDPO = {"name": "lagdpo", "epsilon": [0.5]}
ALL = ["losses.png", "lambda.png", "margins.png", "accuracies.png"]


def record(step, dimensions="ATEC"):
    """A training record; the values of dimension number k are step + k / 10, and so on."""
    flat = {"step": step, "loss": 0.5}
    for k, dimension in enumerate(dimensions):
        flat[f"loss/{dimension}"] = step + k / 10
        flat[f"lambda/{dimension}"] = step / 100
        flat[f"rewards/margins/{dimension}"] = -float(step)
        flat[f"rewards/accuracies/{dimension}"] = 0.5
    return flat


def held_out(step, dimensions="ATEC"):
    return {"step": step} | {f"eval/loss/{dimension}": step + 0.5 for dimension in dimensions}


@pytest.fixture
def run(tmp_path):
    """Writes a run directory."""

    def write(records, method=LAGDPO, tail=""):
        (tmp_path / "config.json").write_text(json.dumps({"method": method, "data": {}}))
        text = "".join(json.dumps(r) + "\n" for r in records) + tail
        (tmp_path / "metrics.jsonl").write_text(text)
        return tmp_path

    return write


@pytest.fixture
def drawn(monkeypatch):
    """File name -> figure, of all that would be written; rendering takes its time."""
    figures = {}

    def keep(figure, path, **options):
        figures[path.name] = figure

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def curves(axes):
    """Label -> (steps, values) of everything plotted in a panel."""
    return {line.get_label(): tuple(map(list, line.get_data())) for line in axes.get_lines()}


def panels(figure):
    return {axes.get_title()[:1]: axes for axes in figure.axes}


def names(files):
    return [file.name for file in files]


def test_a_run_is_drawn_as_it_was_logged(run, drawn):
    records = [record(1), record(2, "ATE"), held_out(2), record(3), record(4), held_out(4, "A")]
    workdir = run(records, {"name": "lagdpo", "epsilon": [0.5, 0.4, math.inf, 0.3]})
    files = plots.write(workdir)
    assert files == [workdir / "plots" / name for name in ALL]
    losses = panels(drawn["losses.png"])
    assert list(losses) == ["A", "T", "E", "C"]
    a, c = curves(losses["A"]), curves(losses["C"])
    assert a["training batch"] == ([1, 2, 3, 4], [1, 2, 3, 4])
    assert a["validation split"] == ([2, 4], [2.5, 4.5])
    assert a["tolerance ε"][1] == [0.5, 0.5]
    assert c["training batch"] == ([1, 3, 4], [1.3, 3.3, 4.3])  # absent from one batch
    assert c["validation split"] == ([2], [2.5])
    assert c["tolerance ε"][1] == [0.3, 0.3]
    assert "tolerance ε" not in curves(losses["E"])  # unlimited
    assert losses["T"].get_title() == "T  trustworthiness  (ε = 0.4)"
    multipliers = curves(drawn["lambda.png"].axes[0])
    assert multipliers["E  empathy"] == ([1, 2, 3, 4], [0.01, 0.02, 0.03, 0.04])
    assert len(multipliers) == 4
    margins = panels(drawn["margins.png"])
    assert curves(margins["T"])["training batch"] == ([1, 2, 3, 4], [-1, -2, -3, -4])
    accuracies = panels(drawn["accuracies.png"])
    assert curves(accuracies["T"])["training batch"][1] == [0.5] * 4


def test_long_runs_are_smoothed_over_their_raw_values(run, drawn):
    workdir = run([record(step) for step in range(1, 10 * plots.PARTS + 1)])
    plots.write(workdir)
    panel = panels(drawn["losses.png"])["A"]
    found = curves(panel)
    steps, values = found["its mean over 1/60 of the run"]
    assert len(found["training batch"][0]) == 600
    np.testing.assert_allclose(steps, np.arange(5.5, 600, 10))
    np.testing.assert_allclose(values, steps)
    raw, mean = panel.get_lines()[:2]
    assert raw.get_alpha() < 0.5 < mean.get_alpha()
    assert raw.get_linewidth() < mean.get_linewidth()


def test_a_moving_tolerance_is_drawn_as_it_was_logged(run, drawn):
    records = [record(step) | {"epsilon/A": 0.7 - step / 10, "epsilon/T": 0.5} for step in (1, 2)]
    plots.write(run(records, {"name": "lagdpo", "epsilon": [0.5]}))
    losses = panels(drawn["losses.png"])
    assert curves(losses["A"])["tolerance ε"] == ([1, 2], [0.7 - 0.1, 0.7 - 0.2])
    assert losses["A"].get_title() == "A  anti-sycophancy"
    assert losses["T"].get_title() == "T  trustworthiness  (ε = 0.5)"


def test_one_step_is_seen(run, drawn):
    files = plots.write(run([record(1)]))
    assert names(files) == ALL
    axes = panels(drawn["losses.png"])["A"]
    assert axes.get_lines()[0].get_marker() == "."
    assert [tick for tick in axes.get_xticks() if 0 <= tick <= 1.02] == [0, 1]


@pytest.mark.parametrize("dimensions", ["T", "AE", "ATE"])
def test_dimensions_that_never_occur_have_no_panel(run, drawn, dimensions):
    plots.write(run([record(1, dimensions), record(2, dimensions)]))
    losses = panels(drawn["losses.png"])
    assert "".join(losses) == dimensions
    lowest = list(losses.values())[-2:]
    assert all(axes.xaxis.get_tick_params()["labelbottom"] for axes in lowest)


def test_sft_has_losses_alone(run, drawn):
    records = [{"step": s, "loss": 5.0, "loss/A": 5.0, "loss/C": 4.0} for s in (1, 2)]
    files = plots.write(run(records, {"name": "sft", "responses": "golden"}))
    assert names(files) == list(drawn) == ["losses.png"]


def test_values_that_are_not_finite_are_left_out(run, drawn):
    records = [record(1), record(2) | {"loss/A": math.nan, "loss/T": math.inf}, record(3)]
    plots.write(run(records))
    losses = panels(drawn["losses.png"])
    assert curves(losses["A"])["training batch"] == ([1, 3], [1, 3])
    assert curves(losses["T"])["training batch"][0] == [1, 3]


def test_a_line_that_is_being_written_is_left_out(run, drawn):
    plots.write(run([record(1), record(2)], tail='{"step": 3, "lo'))
    assert curves(panels(drawn["losses.png"])["A"])["training batch"][0] == [1, 2]


def test_a_damaged_line_is_left_out_and_told(run, drawn):
    workdir = run([record(1)], tail='{"step": 2, "lo\n' + json.dumps(record(3)) + "\n")
    with pytest.warns(UserWarning, match=r"metrics\.jsonl: damaged lines are left out: 2$"):
        plots.write(workdir)
    (axes, *_) = drawn["losses.png"].axes
    assert {len(line.get_xdata()) for line in axes.get_lines()} >= {2}


def test_a_run_without_a_step_has_no_plot(run):
    workdir = run([])
    assert plots.write(workdir) == []
    assert not (workdir / "plots").exists()


def test_no_run_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        plots.write(tmp_path)


def test_drawn_again_the_files_are_replaced(run):
    (file,) = plots.write(run([{"step": 1, "loss/T": 0.5}]))
    before = file.read_bytes()
    assert plots.write(run([{"step": 1, "loss/T": 0.5}, {"step": 2, "loss/T": 0.1}])) == [file]
    assert file.read_bytes() != before


def test_a_dark_style_of_the_user_changes_no_colour(run):
    """Dark ink on an opaque white page: for print, and as a white card on a dark page."""
    records = [{"step": s, "loss/T": 1.0 / s, "lambda/T": 0.1 * s} for s in range(1, 5)]
    workdir = run([*records, held_out(2, "T")])
    plain = {file.name: np.asarray(Image.open(file)) for file in plots.write(workdir)}
    with matplotlib.rc_context():
        matplotlib.style.use("dark_background")
        dark = {file.name: np.asarray(Image.open(file)) for file in plots.write(workdir)}
    assert list(plain) == ["losses.png", "lambda.png"]
    for name, pixels in plain.items():
        np.testing.assert_array_equal(pixels, dark[name], err_msg=name)
        assert (pixels[[0, -1]][:, [0, -1]] == 255).all()
        assert (pixels[..., :3].max(axis=-1) < 60).mean() > 0.002  # the ink


def test_lines_differ_without_colour(run, drawn):
    plots.write(run([record(1), record(2)]))
    lines = drawn["lambda.png"].axes[0].get_lines()
    assert len({line.get_marker() for line in lines}) == 4
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 4


def test_no_global_state_is_touched(run):
    """No pyplot, no chosen backend; and importing the module does not import matplotlib."""
    code = (
        "import sys\n"
        "from dignified_jax.training.display import plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plots.write(sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    workdir = run([{"step": 1, "loss/T": 0.5}])
    subprocess.run([sys.executable, "-c", code, str(workdir)], check=True, timeout=120)
    assert (workdir / "plots" / "losses.png").stat().st_size > 10_000


@pytest.mark.parametrize("epsilon", [0.1, 1, None, "small"])
def test_an_epsilon_of_another_method_is_no_tolerance(epsilon):
    """Told from the log alone, at the end of a run, where an error would come last of all."""
    log = plots._Log([record(1)], tuple("ATEC"))
    assert plots._tolerances(log, {"name": "ipo", "epsilon": epsilon}) == {}
    method = {"name": "safe_rlhf", "epsilon": 0.4, "constrained": [True, True, False, False]}
    assert plots._tolerances(log, method).keys() == {"A", "T"}
