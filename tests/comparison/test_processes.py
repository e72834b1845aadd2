"""A comparison of several processes: they join before anything else, fail together, one writes."""

import contextlib
import json
import socket

import pytest

from dignified_jax import compare
from dignified_jax.cluster import join, members
from dignified_jax.comparison import plan, runs
from dignified_jax.typed_config import ConfigError
from tests.comparison.conftest import score
from tests.comparison.test_compare import start
from tests.oracles import command, tiny_run


def test_the_processes_join_before_the_plan_and_are_watched(monkeypatch, capsys):
    seen = []

    @contextlib.contextmanager
    def watched(timeout, *together):
        seen.append("watched")
        yield
        seen.append("left")

    def run(comparison, notify):
        seen.append(comparison.distributed.joins)
        raise ConfigError("enough")

    monkeypatch.setattr(join, "start", seen.append)
    monkeypatch.setattr(members, "watched", watched)
    monkeypatch.setattr(members, "leave", seen.append)
    monkeypatch.setattr(runs, "run", run)
    flags = ["--config=compare", "--config.distributed.process=1"]
    with pytest.raises(SystemExit, match="1"):
        compare.main([*flags, "--config.distributed.processes=2"])
    cluster, *rest = seen
    assert (cluster.process, cluster.processes) == (1, 2)
    assert rest == ["watched", True, 1]  # an error passes through `watched`, which tells the others
    assert capsys.readouterr().err == "error: enough\n"
    seen.clear()
    assert compare.main([*flags, "--print_config"]) == 0 and seen == []


def test_the_first_process_alone_writes(comparison, monkeypatch):
    planned = plan.runs(comparison)[:1]
    files = [
        runs.run_directory.path(planned[0].config) / name
        for name in (runs.TRAINED_FILE, runs.SCORE_FILE)
    ]
    files[0].parent.mkdir(parents=True)
    for index in (1, 0):
        monkeypatch.setattr(runs.jax, "process_index", lambda index=index: index)
        runs.train(planned, lambda config: None, lambda text: None)
        found = runs.score_runs(planned, 0.1, lambda _: score((0.5, 0.5)), lambda text: None)
        assert len(found) == 1
        assert [file.is_file() for file in files] == [index == 0] * 2


def start_two(root, workdir, *flags, of_second=()):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = [
        *("--config.methods=multi_negative", "--config.against=multi_negative", "--config.seeds=0"),
        *(f"--config.distributed.coordinator=127.0.0.1:{port}", "--config.distributed.processes=2"),
        *flags,
    ]
    return [
        start(workdir, *common, f"--config.distributed.process={index}", *more, root=root)
        for index, more in enumerate(((), of_second))
    ]


@pytest.mark.slow
def test_two_processes_compare_and_report_once(tmp_path):
    tiny_run.write(tmp_path)
    pair = start_two(tmp_path, tmp_path / "work", "--config.base.max_steps=2")
    (first, told), (second, silence) = map(command.finish, pair)
    assert (first, second) == (0, 0), (told, silence)
    assert "report: " in told and "report: " not in silence
    results = json.loads((tmp_path / "work" / "report" / "results.json").read_text())
    assert results["beta"] == 0.1


@pytest.mark.slow
def test_a_process_that_refuses_ends_both(tmp_path):
    tiny_run.write(tmp_path)
    missing = f"--config.base.data.train={tmp_path / 'nowhere.jsonl'}"
    pair = start_two(tmp_path, tmp_path / "work", of_second=(missing,))
    (first, told), (second, reason) = map(command.finish, pair)
    assert (first, second) == (1, 1), (told, reason)
    assert "nowhere.jsonl" in reason and "error: process 1 on " in told
