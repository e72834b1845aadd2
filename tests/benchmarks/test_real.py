"""The comparison on a real model: order, statistics, budget and report, untrained."""

import contextlib
import dataclasses
import json
import math
import os
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.real import __main__ as command
from benchmarks.real import (
    behaviour,
    clock,
    paired,
    plan,
    power,
    report,
    results,
    rows,
    scoring,
    training,
)
from benchmarks.real.entries import (
    AVERAGE,
    CONFLICT,
    ENTRIES,
    LAGDPO,
    PLAIN,
    WORLDS,
    RunId,
    Setting,
    train_config,
)
from dignified_jax import analyze, data
from dignified_jax.data import DIMENSIONS
from dignified_jax.embedded import resolve
from dignified_jax.evaluation.ood import __main__ as ood
from dignified_jax.evaluation.utility import __main__ as utility
from dignified_jax.training.run import directory as run_directory

pytestmark = pytest.mark.wiring

SIZES = rows.Sizes(max_length=256, train=12, validation=4, test=6, sentence=3)


def test_the_order_is_by_value_per_run():
    found = plan.order(list(WORLDS), list(ENTRIES), (0, 1, 2), rates=2)
    assert len(found) == len(set(found)) == len(WORLDS) * (len(ENTRIES) - 1) * 3
    # Where there is a conflict, against averaging, first: all else rests on its Lag-DPO.
    assert found[0] == plan.Contrast(CONFLICT, AVERAGE, 0)
    places = {contrast: number for number, contrast in enumerate(found)}
    assert places[plan.Contrast(PLAIN, AVERAGE, 0)] < places[plan.Contrast(PLAIN, AVERAGE, 1)]
    # PCGrad costs four backward passes, and is no likelier to tell something.
    assert (
        places[plan.Contrast(CONFLICT, "pairs", 0)] < places[plan.Contrast(CONFLICT, "pcgrad", 0)]
    )
    groups = list(plan.groups(found))
    assert groups[:2] == [plan.Group(CONFLICT, m, 0) for m in (LAGDPO, AVERAGE)]
    assert len(groups) == len(set(groups)) == len(WORLDS) * len(ENTRIES) * 3


def test_more_seeds_leave_the_first_rate_of_value():
    """Of equal costs: the third seed takes 1/2 - 1/3 off, the second 1 - 1/2."""
    rate = [plan._rate((CONFLICT, AVERAGE, number), (0, 1, 2), 1, set()) for number in range(3)]
    np.testing.assert_allclose(rate, [1 / 2, 1 / 4, 1 / 12])


def test_every_method_can_be_configured(tmp_path):
    setting = Setting("embedded:tiny-qwen3", tmp_path, SIZES, steps=4, batch_size=2)
    given = [data.PreferenceRow(k, "one two", {k: "three"}) for k in DIMENSIONS]
    rows.write(tmp_path / "data" / CONFLICT, dict.fromkeys(rows.SPLITS, given))
    for name in ENTRIES:
        config = train_config(setting, RunId(CONFLICT, name, 1e-3, 5))
        assert (config.max_steps, config.epochs, config.seed) == (4, 2, 5)
        assert (config.reference == "cached") == (name != "sft")
        assert config.data.test.endswith("validation.jsonl")  # the test rows are not read


def pairs_of(rng, shift, prompts=30):
    """30 prompts, every dimension on some, one of them with many pairs."""
    number = [*range(prompts), *[0] * 12]
    dimension = [DIMENSIONS[n % 4] for n in number]
    margin = rng.normal(shift, 1.0, size=len(number))
    return {
        "dimension": dimension,
        "prompt": number,
        "opposing": [n % 8 == 2 for n in number],
        "margin": margin.tolist(),
        "longer": [0.5] * len(number),
    }


def by_hand(pairs, keep):
    """(worst accuracy, worst loss) of the prompts in `keep`, a list with repetitions."""
    accuracy, loss = [], []
    for dimension in DIMENSIONS:
        own = [
            margin
            for prompt in keep
            for name, at, margin in zip(
                pairs["dimension"], pairs["prompt"], pairs["margin"], strict=True
            )
            if at == prompt and name == dimension
        ]
        accuracy.append(np.mean([margin > 0 for margin in own]))
        loss.append(np.mean([math.log1p(math.exp(-margin)) for margin in own]))
    return min(accuracy), max(loss)


def test_figures_of_drawn_prompts_equal_those_counted_out():
    pairs = pairs_of(np.random.default_rng(0), 0.3)
    weights = paired.draw_prompts(pairs, 5)
    found = paired.of_pairs(pairs, weights)
    for draw in range(5):
        keep = [p for p in range(30) for _ in range(int(weights[draw, p]))]
        assert len(keep) == 30
        accuracy, loss = by_hand(pairs, keep)
        np.testing.assert_allclose(paired.worst_accuracy(found)[draw], accuracy, rtol=1e-12)
        np.testing.assert_allclose(paired.worst_loss(found)[draw], loss, rtol=1e-12)
    assert paired.worst_accuracy(paired.once(pairs)) == by_hand(pairs, range(30))[0]


def test_as_many_prompts_of_each_kind_are_drawn():
    pairs = pairs_of(np.random.default_rng(0), 0.0)
    weights = paired.draw_prompts(pairs, 50)
    for k in range(4):
        np.testing.assert_array_equal(weights[:, k::4].sum(axis=1), len(range(k, 30, 4)))


def test_a_lead_is_paired():
    """Equal policies lead by nothing, with nothing to blur it; a better one is clear of 0."""
    rng = np.random.default_rng(1)
    seeds = [pairs_of(rng, 0.0) for _ in range(3)]
    same = paired.lead(seeds, seeds, paired.worst_accuracy, draws=100)
    assert (same.mean, same.low, same.high, same.clear) == (0.0, 0.0, 0.0, False)
    better = [one | {"margin": [m + 2.0 for m in one["margin"]]} for one in seeds]
    found = paired.lead(better, seeds, paired.worst_loss, draws=200)
    assert found.high < 0 and found.clear
    one = paired.lead(better[:1], seeds[:1], paired.worst_loss, draws=200)
    assert one.high < 0 and math.isnan(one.seeds.half) and not one.clear


@pytest.mark.parametrize(("pairs", "seeds"), [(150, 1), (400, 3), (1600, 5)])
def test_power_equals_that_of_simulated_comparisons(pairs, seeds):
    """20,000 draws have a standard error of 0.0035; the normal approximation has its own error."""
    noise = power.Noise(differing=0.15, between_seeds=0.015)
    leads = power.simulate(0.03, pairs, seeds, noise, draws=20_000, seed=pairs)
    error = math.sqrt(noise.variance(0.03, pairs, seeds))
    np.testing.assert_allclose(leads.mean(), 0.03, atol=5 * error / math.sqrt(20_000))
    np.testing.assert_allclose(leads.std(), error, rtol=0.03)
    clear = np.mean(leads > 1.959964 * error)
    np.testing.assert_allclose(power.power(0.03, pairs, seeds, noise), clear, atol=0.02)


def test_pairs_needed_have_the_power_that_was_asked():
    noise = power.Noise(differing=0.2, between_seeds=0.01, cluster=3.0, correlation=0.25)
    needed = power.pairs_needed(0.03, 3, noise)
    assert power.power(0.03, needed, 3, noise) >= 0.8
    assert power.power(0.03, needed - 1, 3, noise) < 0.8
    # Three pairs a prompt that correlate by 1/4 are worth 1 / (1 + 2/4) of as many prompts.
    alone = power.pairs_needed(0.03, 3, power.Noise(differing=0.2, between_seeds=0.01))
    np.testing.assert_allclose(needed / alone, 1.5, rtol=1e-3)
    assert power.pairs_needed(0.03, 1, power.Noise(between_seeds=0.02)) is None
    least = power.least_lead(150, 3, noise)
    np.testing.assert_allclose(power.power(least, 150, 3, noise), 0.8, rtol=1e-6)


def test_the_budget_ends_the_work_and_nothing_else():
    before = signal.getsignal(signal.SIGTERM)
    started = time.monotonic()
    with clock.budget(0.2):
        time.sleep(30)
    assert time.monotonic() - started < 10
    done = []
    with clock.budget(60):
        done.append(True)
    with clock.budget(0.05) as check:
        with contextlib.suppress(clock.Stopped):  # as the training loop takes it in its last step
            time.sleep(5)
        check()
        done.append("too late")
    with clock.budget(60):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        except Exception:  # as a room's own would
            done.append("taken")
        done.append("went on")
    assert done == [True]
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(ValueError, match="of the work"), clock.budget(60):
        raise ValueError("of the work")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_python_drops_ends_the_work_all_the_same(monkeypatch):
    """In finalizers and callbacks of the collector, what a handler raises is ignored."""
    monkeypatch.setattr(clock, "_AGAIN", 0.2)

    class Interrupted:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    started, done = time.monotonic(), []
    with clock.budget(60):
        Interrupted()
        done.append("went on")
        time.sleep(30)
        done.append("never ended")
    assert done == ["went on"] and time.monotonic() - started < 10


def trained(setting, run, accuracy, loss=0.6):
    """What a finished run leaves, as far as the command looks at it."""
    directory = run.directory(setting.out)
    directory.mkdir(parents=True)
    own = {k: {"accuracy": accuracy, "loss": loss} for k in DIMENSIONS}
    text = json.dumps({"dimensions": own})
    (directory / run_directory.SUMMARY_FILE).write_text(text)
    lines = [{"step": n, **{f"lambda/{k}": n / 2 for k in DIMENSIONS}} for n in (1, 2)]
    lines[-1] |= {f"loss/{k}": 0.5 + place / 10 for place, k in enumerate("ATE")}
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (directory / run_directory.METRICS_FILE).write_text(text)


def scored(setting, run, margins):
    content = {"pairs": margins, "drift": [-0.1, 0.3], "kl": 0.02, "beta": scoring.BETA}
    (run.directory(setting.out) / scoring.FILE).write_text(json.dumps(content))


@pytest.fixture
def half_done(tmp_path):
    """Both sides of the first contrast with two rates and one more seed; of the rest nothing."""
    setting = Setting("embedded:tiny-qwen3", tmp_path, SIZES)
    rng = np.random.default_rng(0)
    for method, shift in ((LAGDPO, 0.6), (AVERAGE, 0.0)):
        for rate, accuracy in ((1e-3, 0.5), (2e-3, 0.7)):
            trained(setting, RunId(CONFLICT, method, rate, 0), accuracy)
        trained(setting, RunId(CONFLICT, method, 2e-3, 1), 0.6)
        for seed in (0, 1):
            scored(setting, RunId(CONFLICT, method, 2e-3, seed), pairs_of(rng, shift))
    trained(setting, RunId(PLAIN, LAGDPO, 1e-3, 0), 0.9)  # its other rate is missing
    options = SimpleNamespace(
        **{
            "seeds": [0, 1, 2],
            "rates": [1e-3, 2e-3],
            "rows": list(WORLDS),
            "methods": list(ENTRIES),
        }
    )
    return setting, options


def test_the_rate_is_that_of_the_best_validation_once_all_have_ended(half_done):
    setting, options = half_done
    contrasts = plan.order(options.rows, options.methods, options.seeds, len(options.rates))
    rates = results.learning_rates(setting, contrasts, options.rates, 0)
    assert rates == {(CONFLICT, LAGDPO): 2e-3, (CONFLICT, AVERAGE): 2e-3}
    found = results.gather(setting, contrasts, rates)
    assert set(found) == {plan.Group(CONFLICT, m, s) for m in (LAGDPO, AVERAGE) for s in (0, 1)}
    # Of equal accuracies the lesser loss.
    rows_of = {k: {"accuracy": 0.5, "loss": 0.6} for k in DIMENSIONS}
    better = {k: {"accuracy": 0.5, "loss": 0.5} for k in DIMENSIONS}
    assert training.quality(better) > training.quality(rows_of)


def test_the_report_tells_what_there_is(half_done):
    setting, options = half_done
    contrasts = plan.order(options.rows, options.methods, options.seeds, len(options.rates))
    rates = results.learning_rates(setting, contrasts, options.rates, 0)
    found = results.gather(setting, contrasts, rates)
    split = dict.fromkeys((*DIMENSIONS, "opposing", "prompts"), 3)
    file = report.write(setting, options, contrasts, {CONFLICT: {"train": split}}, found)
    text = file.read_text(encoding="utf-8")
    content = json.loads((setting.out / "report.json").read_text(encoding="utf-8"))
    lead = content["leads"][CONFLICT][AVERAGE]["worst accuracy"]
    left, right = (
        [found[plan.Group(CONFLICT, method, seed)].pairs for seed in (0, 1)]
        for method in (LAGDPO, AVERAGE)
    )
    by_seed = [
        by_hand(a, range(30))[0] - by_hand(b, range(30))[0]
        for a, b in zip(left, right, strict=True)
    ]
    expected = np.mean(by_seed)
    np.testing.assert_allclose(lead["mean"], expected, rtol=1e-9)
    np.testing.assert_allclose(lead["by_seed"], by_seed, rtol=1e-9)
    assert f"{expected:+.3f} [" in text and lead["seeds"] == 2
    assert "## Rows: plain\n\nNothing was tested yet." in text
    losses = next(line for line in text.splitlines() if line.startswith("| losses"))
    assert losses.split(" | ")[5:9] == ["training: A", "training: T", "training: E", "training: C"]
    own = next(line for line in text.splitlines() if line.count("0.700") == 1)
    assert own.endswith(f"| 0.500 | 0.600 | 0.700 | - |{' 1.000 |' * 4}")
    assert training.last_losses(setting, RunId(PLAIN, LAGDPO, 2e-3, 0)) == {}  # it has not begun
    assert len(content["runs"]) == 4 and content["runs"][0]["lambda"][0] == dict.fromkeys(
        "ATEC", 0.5
    )
    for picture in ("accuracy_conflict", "lead_conflict", "lambda"):
        assert (setting.out / f"{picture}.png").stat().st_size > 5000
        assert f"({picture}.png)" in text


def test_the_report_is_of_the_dimensions_that_take_part(half_done):
    setting, options = half_done
    sizes = dataclasses.replace(SIZES, dimensions=("T", "E", "C"))
    conflict = rows.Conflict("T", ("E", "C"))
    setting = dataclasses.replace(setting, sizes=sizes, conflict=conflict)
    contrasts = plan.order([CONFLICT], [LAGDPO, AVERAGE], [0, 1], 2)
    found = results.gather(setting, contrasts, {(CONFLICT, m): 2e-3 for m in (LAGDPO, AVERAGE)})
    counts = {CONFLICT: {"train": dict.fromkeys(("T", "E", "C", "opposing", "prompts"), 3)}}
    text = report.write(setting, options, contrasts, counts, found).read_text(encoding="utf-8")
    assert "| rows | split | T | E | C | of E, C: opposing | prompts |" in text
    assert "| T | E | C | T, own | E, own | E, opposing | C, own | C, opposing |" in text
    assert "| worst of T, E, C, accuracy | worst of T, E, C, loss |" in text
    assert "| last λ: T | last λ: E | last λ: C |" in text


def test_behaviour_is_asked_of_the_packages_own_commands(half_done):
    setting, options = half_done
    files = {name: f"{name}.file" for name in ("xstest", "sycophancy", "vectors")}
    files |= {"utility": "bbh", "utility_tasks": "tasks", "items": 7, "new_tokens": 5}
    vars(options).update(files)
    contrasts = plan.order(options.rows, options.methods, options.seeds, len(options.rates))
    rates = results.learning_rates(setting, contrasts, options.rates, 0)
    found = results.gather(setting, contrasts, rates)
    asked = list(behaviour.commands(setting, options, found))
    names = [name for name, _, _ in asked]
    assert names[0] == "drift-conflict-2" and len(set(names)) == len(asked) == 1 + 3 * 3
    run = str(RunId(CONFLICT, LAGDPO, 2e-3, 0).directory(setting.out))
    parsers = {"drift": analyze, "sycophancy": ood, "xstest": ood, "utility": utility}
    for name, arguments, main in asked:
        module = parsers[name.split("-")[0]]
        assert main is module.main
        given = [arguments] if module is analyze else []
        parsed = module._parser(*given).parse_args(arguments)
        if name.endswith("lagdpo"):
            assert parsed.model == run and parsed.limit == 7
        elif name.endswith("first-model"):
            assert parsed.model == setting.model
    assert ("conflict lagdpo", run) in analyze._parser(asked[0][1]).parse_args(asked[0][1]).model


def test_another_setting_in_the_same_place_is_refused(tmp_path):
    place = ["--out", str(tmp_path), "--train", "t.jsonl", "--model", "m", "--hours", "1"]
    parser = command._parser()
    first = parser.parse_args(place)
    command._check_same(command._setting(first), first)
    more = parser.parse_args([*place, "--seeds", "0", "1", "2", "3", "--methods", "lagdpo"])
    command._check_same(command._setting(more), more)
    other = parser.parse_args([*place, "--steps", "9"])
    with pytest.raises(SystemExit, match=r"begun otherwise.*\n.*steps"):
        command._check_same(command._setting(other), other)


@pytest.mark.slow
def test_a_whole_tiny_comparison_goes_on_where_it_was_stopped(tmp_path, capsys):
    source = resolve("embedded:personaknob_mini/train.jsonl")
    flags = ["--model", "embedded:tiny-qwen3", "--train", source, "--out", str(tmp_path)]
    flags += ["--steps", "4", "--batch_size", "4", "--train_rows", "16", "--test_rows", "4"]
    flags += ["--validation_rows", "3", "--rates", "1e-3", "--max_length", "512", "--sentence", "3"]
    flags += ["--methods", LAGDPO, AVERAGE, "--rows", CONFLICT, "--seeds", "0"]
    command.main([*flags, "--hours", "0.002"])  # 7 seconds: nothing ends in them
    assert "everything that was planned" not in capsys.readouterr().out
    assert "Nothing was tested yet" in (tmp_path / "report.md").read_text(encoding="utf-8")
    requests = tmp_path / "requests.csv"
    requests.write_text("id,prompt,type\n1,Hi?,homonyms\n2,Bad?,contrast_homonyms\n")
    flags += ["--xstest", str(requests), "--items", "2", "--new_tokens", "4"]
    command.main([*flags, "--hours", "1"])
    assert "everything that was planned is done" in capsys.readouterr().out
    content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert {run["method"] for run in content["runs"]} == {LAGDPO, AVERAGE}
    assert all(run["kl"] > 0 for run in content["runs"])
    assert content["behaviour"]["drift"][0]["texts"] > 0
    models = {row["model"] for row in content["behaviour"]["xstest"]}
    assert models == {"first model", "conflict lagdpo", "conflict average"}
    stamps = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*.json")}
    command.main([*flags, "--hours", "1"])  # done before: nothing is trained or scored again
    assert stamps == {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*.json")}


def test_a_dimensions_own_pairs_are_on_prompts_that_nothing_opposes():
    pairs = {
        "dimension": ["A", "A", "E", "A", "A", "E"],
        "prompt": [0, 1, 1, 2, 3, 4],
        "opposing": [False, False, True, False, False, False],
        "margin": [0.2, -0.5, 0.5, -0.1, 0.0, -1.0],
    }
    found = results.Found(RunId("conflict", "average", 1e-3, 0), {"pairs": pairs})
    assert results.unopposed_accuracy(found, "A") == (1.0 + 0.0 + 0.5) / 3
    assert results.part_accuracy(found, "E", True) == 1.0
