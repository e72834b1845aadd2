"""The conflict testbed: what its dials do, the propositions' formulas, and the KKT multipliers."""

import numpy as np
import pytest

from benchmarks import (
    conflict,
    conflict_gradients,
    conflict_kkt,
    conflict_lengths,
    conflict_methods,
    conflict_training,
)
from benchmarks.conflict_problem import Dials, directions, make_examples
from dignified_jax.data import DIMENSIONS

pytestmark = pytest.mark.wiring

ROWS = 128


def words(examples, number):
    """All words of the examples' response `number`, the end token left out."""
    return np.concatenate(
        [e.responses[number][:-1] for e in examples if e.responses[number] is not None]
    )


@pytest.mark.parametrize("conflict", [0.0, 0.4, 0.9])
def test_directions_have_the_cosines_of_the_dial(conflict):
    """+conflict within Dignity (A, T) and Peer (E, C), -conflict between them; to rounding."""
    u = directions(conflict, seed=3)
    sign = np.array([1, 1, -1, -1])
    expected = conflict * np.outer(sign, sign) + (1 - conflict) * np.eye(4)
    np.testing.assert_allclose(u @ u.T, expected, atol=1e-12)
    np.testing.assert_allclose(u.sum(axis=1), 0.0, atol=1e-12)


def test_frequency_is_the_share_of_rows():
    """1500 rows: five standard errors are 0.065; few rows are drawn again, as one has 0.9."""
    frequency = (0.2, 0.4, 0.9, 0.6)
    examples = make_examples(Dials(frequency=frequency), 1500, 0, 0)
    share = np.mean([[r is not None for r in e.responses[1:]] for e in examples], axis=0)
    again = 1 - np.prod(1 - np.array(frequency))
    np.testing.assert_allclose(share, np.array(frequency) / again, atol=0.065)


def test_noise_flips_labels_of_its_dimension_alone():
    """Along u_k, golden minus reject shrinks by 1 - 2 noise; other dimensions stay as they were.

    The standard error of a ratio is 0.03, and the tilts are not quite linear: 0.15.
    """
    noise = (0.3, 0.0, 0.0, 0.0)
    u = directions(0.0, seed=5)

    def leads(**options):
        dials = Dials(conflict=0.0, noise=noise)
        examples = make_examples(dials, 1500, 5, 0, **options)
        means = [u[:, words(examples, number) - 3].mean(axis=1) for number in range(5)]
        return np.array([means[0][k] - means[1 + k][k] for k in range(4)])

    ratio = leads() / leads(clean=True)
    np.testing.assert_allclose(ratio, [0.4, 1.0, 1.0, 1.0], atol=0.15)


def test_examples_depend_on_seed_and_part_alone():
    first, again, other = (make_examples(Dials(), 4, 1, part) for part in (0, 0, 1))
    assert all((a.prompt == b.prompt).all() for a, b in zip(first, again, strict=True))
    assert any((a.prompt != b.prompt).any() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"conflict": 1.0}, "conflict"),
        ({"frequency": (0.0,) * 4}, "frequency"),
        ({"frequency": (1.0,)}, "frequency"),
        ({"noise": (0.6, 0.0, 0.0, 0.0)}, "noise"),
        ({"strength": 0.0}, "strength"),
    ],
)
def test_impossible_dials_are_refused(options, named):
    with pytest.raises(ValueError, match=named):
        Dials(**options)


@pytest.fixture(scope="module")
def measured():
    """Norms, cosine and steps of one problem of two dimensions in conflict."""
    return conflict_gradients.measure(0.8, (0.0, 1.0, 6.0), count=ROWS)


@pytest.mark.slow
def test_squared_norms_follow_the_propositions(measured):
    """Float32 gradients summed in float64; 1e-5 relative. At equal norms it is the paper's form."""
    gradients, averaged, steps = measured
    np.testing.assert_allclose(averaged.squared_norm, gradients.squared_norm(0.0), rtol=1e-5)
    for step in steps:
        expected = gradients.squared_norm(step.multiplier)
        np.testing.assert_allclose(step.squared_norm, expected, rtol=1e-5)
    equal = conflict_gradients.Gradients(2.0, 2.0, 0.4)
    np.testing.assert_allclose(equal.squared_norm(0.0), 4 * 0.6 / 2)
    np.testing.assert_allclose(equal.squared_norm(1.5), 4 / 4 * (2.5**2 - 0.8 * 2.5 + 1))
    np.testing.assert_allclose(equal.threshold, 1 / 0.4 - 1)


def test_progress_of_a_step_follows_the_directional_derivative(measured):
    """Within 1% of the scale a b: the step's curvature, and rounding of the losses."""
    gradients, _, steps = measured
    scale = gradients.raised * gradients.satisfied
    for step in steps:
        expected = np.array(gradients.progress(step.multiplier))
        found = np.array([step.raised, step.satisfied])
        np.testing.assert_allclose(found / scale, expected / scale, atol=0.01)
    assert 1.0 < gradients.threshold < 6.0
    assert [step.satisfied > 0 for step in steps] == [True, True, False]


def test_the_conflict_dial_raises_the_measured_conflict(measured):
    low = conflict_gradients.measure(0.2, (), count=ROWS)[0]
    assert low.rho + 0.2 < measured[0].rho


@pytest.mark.slow
def test_multipliers_and_parameters_converge_to_the_kkt_point():
    """Against SciPy in float64; after 400 steps both optima agree to 1e-3."""
    problem = conflict_kkt.make_problem()
    optimum = conflict_kkt.solve(problem)
    assert optimum.multipliers[0] > 0.05  # a constraint binds
    assert optimum.multipliers[3] < 1e-5  # another does not
    z, multipliers, losses = conflict_kkt.descend(problem, optimum.epsilon, 400)
    np.testing.assert_allclose(multipliers[-1], optimum.multipliers, atol=1e-3)
    np.testing.assert_allclose(z, optimum.z, atol=1e-3)
    np.testing.assert_allclose(losses[-1], optimum.losses, atol=1e-4)


def test_every_method_has_equally_many_trials():
    counts = {
        len(conflict_methods.trials(settings)) for settings in conflict_methods.METHODS.values()
    }
    assert counts == {len(conflict_methods.RATES)}


def test_interval_is_students():
    """Mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.302653."""
    mean, half = conflict_methods.interval(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose([mean, half], [2.0, 4.302653 / np.sqrt(3)], rtol=1e-6)


def test_the_table_pairs_seeds():
    """A constant lead of 0.1 has no spread although the seeds have."""
    base = np.array([[0.6, 0.7, 0.8, 0.9], [0.5, 0.7, 0.8, 0.9]])
    rows = [
        conflict_methods.Row(conflict_methods.LAGDPO, base),
        conflict_methods.Row("other", base - 0.1),
    ]
    lines = conflict_methods.table(rows).splitlines()
    assert "+0.100 ± 0.000 | A |" in lines[-1]
    assert len(DIMENSIONS) + 4 == lines[-1].count("|") - 1


@pytest.mark.slow
def test_the_command_tunes_once_and_writes_a_table_for_each_conflict(tmp_path, capsys, monkeypatch):
    """Without training: all methods end where they began, and none leads."""
    monkeypatch.setattr(conflict_methods, "policy", lambda trial, world: world.params)
    names = (conflict_methods.LAGDPO, "rewarded soup")
    methods = {name: conflict_methods.METHODS[name] for name in names}
    monkeypatch.setattr(conflict_methods, "METHODS", methods)
    conflict.main(["methods", "--seeds", "2", "--conflicts", "0.7", "0.3", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.count(", chosen Trial(") == 2
    assert printed.count("conflict=0.7") == printed.count("conflict=0.3") == 1
    assert printed.count("| rewarded soup |") == printed.count("| +0.000 ± 0.000 |") == 2
    figures = {path.name for path in tmp_path.iterdir()}
    assert figures == {"conflict_methods_0.7.png", "conflict_methods_0.3.png"}


def test_start_keeps_the_given_parameters_alive():
    """A train step donates its state; the initial model is used again."""
    params = conflict_training.init_params(0)
    optimizer, step = conflict_gradients._program(
        conflict_methods.METHODS["average of pairs"][0], 1.0
    )
    state = conflict_training.start(
        conflict_methods.METHODS["average of pairs"][0], optimizer, params
    )
    kept = np.asarray(params["norm"]["scale"])
    state.params["norm"]["scale"].delete()
    np.testing.assert_array_equal(params["norm"]["scale"], kept)
    assert callable(step)


def test_lengths_are_compared_by_seed():
    """The lead over averaging at the same number of steps, last and greatest lambda."""
    worst = np.array([0.5, 0.6])
    path = np.array([[0.5, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.25, 0.0]])
    lengths = [
        conflict_lengths.Length(name, steps, worst + lead, worst, path if lead else path[:, :0])
        for steps in (3, 6)
        for name, lead in ((conflict_lengths.AVERAGE, 0.0), ("rule", steps / 100))
    ]
    lines = conflict_lengths.table(lengths).splitlines()
    assert lines[3].endswith("| +0.030 ± 0.000 | 0.550 | 1.00, 0.00, 0.25, 0.00 | 2.00 |")
    assert "+0.060 ± 0.000" in lines[5]
