"""Which runs are trained and scored, with a stand-in for both: stopped ones go on, others stay."""

import dataclasses
import pathlib

import pytest

from dignified_jax.comparison import plan
from dignified_jax.comparison import runs as comparison_runs
from dignified_jax.comparison.policy_reuse import share_policies
from dignified_jax.embedded import resolve
from dignified_jax.training.config import ConfigError
from tests.comparison.conftest import score

pytestmark = pytest.mark.wiring


class Trainer:
    """Fails at the runs it is told to; remembers those it saw."""

    def __init__(self, fails_at=None):
        self.fails_at = fails_at
        self.seen = []

    def __call__(self, config):
        self.seen.append(f"{config.method.name} {config.seed}")
        if self.seen[-1] == self.fails_at:
            raise RuntimeError("stopped")


@pytest.fixture
def runs(comparison):
    found = plan.runs(comparison)
    for run in found:  # `training` makes them
        comparison_runs.run_directory.path(run.config).mkdir(parents=True)
    return found


ALL = ["lagdpo 3", "soup 3", "lagdpo 5", "soup 5"]


def test_all_are_trained_once(runs):
    trainer, said = Trainer(), []
    comparison_runs.train(runs, trainer, said.append)
    assert trainer.seen == ALL
    assert [line.split(": ")[0] for line in said] == [
        "[1/4] lagdpo seed 3",
        "[2/4] soup seed 3",
        "[3/4] lagdpo seed 5",
        "[4/4] soup seed 5",
    ]
    again, said = Trainer(), []
    comparison_runs.train(runs, again, said.append)
    assert again.seen == []
    assert said[3] == "[4/4] soup seed 5: trained before"


def test_a_stopped_one_goes_on_where_it_was(runs):
    first = Trainer(fails_at="lagdpo 5")
    with pytest.raises(RuntimeError, match="stopped") as caught:
        comparison_runs.train(runs, first, print)
    assert first.seen == ALL[:3]
    assert caught.value.__notes__ == [f"in lagdpo seed 5, {runs[2].config.workdir}"]
    second = Trainer()
    comparison_runs.train(runs, second, print)
    assert second.seen == ALL[2:]


def test_another_configuration_is_refused_before_anything_starts(runs, comparison, get_config):
    comparison_runs.train(runs[:2], Trainer(), print)
    config = get_config()
    config.update(workdir=comparison.workdir, methods=("lagdpo", "soup"), seeds=(5, 3))
    config.entries.soup.method.weights = (1.0, 0.0, 0.0, 0.0)
    trainer = Trainer()
    message = r"soup/seed_3 was trained by another configuration.*\n  method\.weights: \[1\.0\] the"
    with pytest.raises(ConfigError, match=message):
        comparison_runs.train(plan.runs(plan.parse(config)), trainer, print)
    assert trainer.seen == []


def test_a_comparison_may_gain_and_lose_the_method_that_lends_policies(get_config, tmp_path):
    """Those that modpo takes over are trained as its own would be."""

    def planned(*methods, **changes):
        config = get_config()
        config.update(workdir=str(tmp_path), methods=methods, against=methods[0], seeds=(3,))
        found = share_policies(plan.runs(plan.parse(config)))
        return [
            dataclasses.replace(run, config=dataclasses.replace(run.config, **changes))
            for run in found
        ]

    alone, both = planned("modpo"), planned("soup", "modpo")
    assert both[1].config.reward_policies and not alone[0].config.reward_policies
    for run in both:
        comparison_runs.run_directory.path(run.config).mkdir(parents=True)
    for first, then, seen in (
        (alone, both, ["soup 3"]),
        (both, alone, []),
    ):
        comparison_runs.train(first, Trainer(), print)
        trainer = Trainer()
        comparison_runs.train(then, trainer, print)
        assert trainer.seen == seen
        (tmp_path / "runs" / "modpo" / "seed_3" / comparison_runs.TRAINED_FILE).unlink()
    comparison_runs.train(both, Trainer(), print)
    with pytest.raises(ConfigError, match=r"modpo/seed_3 was trained by .*\n  reward_policies: "):
        comparison_runs.train(planned("modpo", reward_policies=("w",) * 4), Trainer(), print)


def test_a_damaged_score_is_made_anew(runs):
    comparison_runs.train(runs, Trainer(), print)
    comparison_runs.score_runs(runs, 0.1, scores(*[score((0.5, 0.5))] * 4)[0], print)
    (comparison_runs.run_directory.path(runs[1].config) / "score.json").write_text('{"beta": 0.')
    judge, seen = scores(score((0.5, 0.6)))
    comparison_runs.score_runs(runs, 0.1, judge, print)
    assert [str(directory.parent) for directory in seen] == [runs[1].config.workdir]


def scores(*answers):
    """A stand-in for the judge that gives `answers` in turn, and the directories it saw."""
    seen, left = [], list(answers)

    def judge(directory):
        seen.append(directory)
        return left.pop(0)

    return judge, seen


def test_all_are_scored_once_and_again_at_another_beta(runs):
    comparison_runs.train(runs, Trainer(), print)
    judge, seen = scores(*(score((0.5, value)) for value in (0.1, 0.2, 0.3, 0.4)))
    said = []
    records = comparison_runs.score_runs(runs, 0.1, judge, said.append)
    assert [directory.name for directory in seen] == ["export"] * 4
    assert [str(directory.parent) for directory in seen] == [run.config.workdir for run in runs]
    assert [(r.name, r.seed, r.worst) for r in records] == [
        *(("lagdpo", 3, "E"), ("soup", 3, "E"), ("lagdpo", 5, "E"), ("soup", 5, "E"))
    ]
    assert said[1] == "[2/4] soup seed 3: worst accuracy 0.2000 (E), KL 0.1 nats a token"

    judge, seen = scores()
    assert comparison_runs.score_runs(runs, 0.1, judge, print) == records
    assert seen == []
    judge, seen = scores(*[score((0.5, 0.5), beta=0.2)] * 4)
    comparison_runs.score_runs(runs, 0.2, judge, print)
    assert len(seen) == 4


def test_what_is_trained_again_is_scored_again(runs):
    comparison_runs.train(runs, Trainer(), print)
    comparison_runs.score_runs(runs, 0.1, scores(*[score((0.5, 0.5))] * 4)[0], print)
    (comparison_runs.run_directory.path(runs[1].config) / comparison_runs.TRAINED_FILE).unlink()
    comparison_runs.train(runs, Trainer(), print)
    judge, seen = scores(score((0.5, 0.6)))
    records = comparison_runs.score_runs(runs, 0.1, judge, print)
    assert [str(directory.parent) for directory in seen] == [runs[1].config.workdir]
    assert records[1].score["dimensions"]["E"]["accuracy"] == 0.6


def test_scores_are_made_anew_where_the_test_rows_changed_in_place(runs):
    comparison_runs.train(runs, Trainer(), print)
    as_before = {"test rows": "r"}
    judge, _ = scores(*[score((0.5, 0.5))] * 4)
    comparison_runs.score_runs(runs, 0.1, judge, print, as_before)
    judge, seen = scores()
    comparison_runs.score_runs(runs, 0.1, judge, print, as_before)
    assert seen == []
    new = score((0.5, 0.7)) | {"inputs": {"test rows": "new", "model weights": "w"}}
    judge, seen = scores(*[new] * 4)
    said = []
    records = comparison_runs.score_runs(runs, 0.1, judge, said.append, {"test rows": "new"})
    assert len(seen) == 4 and {r.score["dimensions"]["E"]["accuracy"] for r in records} == {0.7}
    assert said[0].startswith("lagdpo seed 3: scored anew, as inputs have changed: test rows: r")


def test_a_whole_comparison_notices_that_its_test_file_changed(get_config, tmp_path, monkeypatch):
    """All of it is trained and scored, and no model is loaded to find out."""
    config = get_config()
    config.update(workdir=str(tmp_path / "work"), methods=("lagdpo",), seeds=(3,))
    rows = pathlib.Path(resolve(plan.scorer_config(plan.parse(config)).data.test)).read_text()
    file = tmp_path / "test.jsonl"
    file.write_text(rows, encoding="utf-8")
    config.base.data.test = str(file)
    (run,) = plan.runs(plan.parse(config))
    comparison_runs.run_directory.path(run.config).mkdir(parents=True)
    seen = []

    def scored(scorer, weights, show):
        seen.append(scorer)
        return score((0.5, 0.5)) | {"inputs": scorer}

    made_on = comparison_runs.policy_scores.made_on
    parts = comparison_runs.policy_scores, comparison_runs.results, comparison_runs.report
    for part, name, stand_in in (
        (comparison_runs, "train", lambda *_: None),
        (parts[0], "make_scorer", lambda config, notify, rows: made_on(rows)),
        (parts[0], "score", scored),
        (parts[1], "summarise", lambda *_: None),
        (parts[2], "write", lambda *_: None),
    ):
        monkeypatch.setattr(part, name, stand_in)
    for times in (1, 1):
        comparison_runs.run(plan.parse(config), lambda text: None)
        assert len(seen) == times
    others = rows.splitlines(keepends=True)[1:]
    file.write_text("".join(others), encoding="utf-8")
    comparison_runs.run(plan.parse(config), lambda text: None)
    assert len(seen) == 2 and seen[0]["test rows"] != seen[1]["test rows"]


def test_scores_of_other_test_rows_are_refused(runs):
    comparison_runs.train(runs, Trainer(), print)
    other = score((0.5, 0.5)) | {"inputs": {"test rows": "other", "model weights": "w"}}
    judge, _ = scores(score((0.5, 0.5)), other)
    message = r"soup seed 3 was scored on other inputs than lagdpo seed 3.*\n  test rows: r there"
    with pytest.raises(ConfigError, match=message):
        comparison_runs.score_runs(runs, 0.1, judge, print)
