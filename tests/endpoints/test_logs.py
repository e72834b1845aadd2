"""Logs of calls where inspect_ai is not to be had, and who was called before."""

import importlib.util
import sys
import types
import zipfile

import pytest

from dignified_jax.endpoints import logs
from dignified_jax.endpoints.logs import CallLog, EndpointError
from dignified_jax.evaluation.config import EvaluationConfig, JudgingConfig
from dignified_jax.evaluation.stages import judge

pytestmark = pytest.mark.wiring


def test_logs_without_inspect_ai_are_one_line_that_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    log = CallLog(tmp_path)
    assert log.answers("provider/a") == {} and log.heard() == set()  # nothing to be read
    batch = log.begin({"provider/a": ["x"]})
    (batch.directory / "one.eval").write_bytes(b"")
    for read in (lambda: log.answers("provider/a"), lambda: list(log.unfinished(["provider/a"]))):
        with pytest.raises(EndpointError, match=r"pip install 'dignified_jax\[eval\]'") as error:
            read()
        assert "\n" not in str(error.value)
    with pytest.raises(EndpointError, match="judge calls to endpoints need inspect_ai"):
        judge.endpoint.heard(tmp_path)


def test_a_new_judge_needs_its_key_though_others_were_called(tmp_path, monkeypatch):
    """Before there are responses; a judge with a finished log needs none."""
    judging = JudgingConfig(judges=("old=openai/old", "new=openai/new"))
    config = EvaluationConfig(workdir=str(tmp_path), models=("m=m",), judging=judging)
    calls = tmp_path / "judgments" / f"calls-{judge.endpoint.settings_hash(judging.endpoint())}"
    finished = {"old.eval": ("openai/old", "success"), "new.eval": ("openai/new", "started")}
    for name in finished:
        (calls / "batch-1").mkdir(parents=True, exist_ok=True)
        (calls / "batch-1" / name).write_bytes(b"")

    def header(path):
        model, status = finished[path.name]
        return types.SimpleNamespace(eval=types.SimpleNamespace(model=model), status=status)

    monkeypatch.setattr(logs, "_read_header", header, raising=False)
    seen = []
    monkeypatch.setattr(judge.endpoint, "check", seen.append)
    judge.check(config, None)
    assert seen == [["openai/new"]]
    finished["new.eval"] = ("openai/new", "success")
    judge.check(config, None)
    assert len(seen) == 1


def test_a_damaged_log_is_told_by_its_file(tmp_path, monkeypatch):
    def read_eval_log(path, **_):
        raise zipfile.BadZipFile("File is not a zip file")

    fake = types.SimpleNamespace(read_eval_log=read_eval_log)
    monkeypatch.setitem(sys.modules, "inspect_ai", types.ModuleType("inspect_ai"))
    monkeypatch.setitem(sys.modules, "inspect_ai.log", fake)
    monkeypatch.setattr(logs, "require_inspect", lambda: None)
    log = CallLog(tmp_path)
    batch = log.begin({"provider/a": ["x"]})
    (batch.directory / "one.eval").write_bytes(b"PK")
    for read in (lambda: log.answers("provider/a"), log.heard):
        with pytest.raises(EndpointError, match=r"one\.eval: not readable .*: File is not a zip"):
            read()
