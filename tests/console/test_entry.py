"""Ctrl-C ends a command in one line with status 130, also while its modules load."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
import types

import pytest

import dignified_jax
from dignified_jax.cluster import wire
from dignified_jax.console import entry

ROOT = pathlib.Path(dignified_jax.__file__).parents[1]


def interrupted(arguments, cwd, wait):
    """(exit status, what it says) of a Python process that gets Ctrl-C once `wait` exists."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env={"PYTHONPATH": f"{cwd}:{ROOT}", "PATH": ""},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not wait.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.fixture
def slow_import(tmp_path):
    """A module that takes its time to load, and swallows exceptions as libraries do."""
    (tmp_path / "numpy.py").write_text(
        textwrap.dedent(f"""
        import pathlib, time
        try:
            pathlib.Path({str(tmp_path / "begun")!r}).touch()
            time.sleep(60)
        except BaseException:
            raise ImportError("swallowed")
        """)
    )
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--config=lagdpo"],
        ["compare", "--config=compare"],
        ["convert", "to-orbax", "--hf=embedded:tiny-qwen3", "--out=out"],
        ["data", "stats", "embedded:personaknob_mini/test.jsonl"],
        ["mfrm", "embedded:ratings.csv"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_command_ends_in_one_line_while_it_imports(arguments, slow_import):
    command = ["-m", f"dignified_jax.{arguments[0]}", *arguments[1:]]
    status, said = interrupted(command, slow_import, slow_import / "begun")
    assert status == 130, said
    assert said.startswith("interrupted")
    assert said.count("\n") == 1


def test_a_program_that_imports_the_package_keeps_its_own_way(tmp_path):
    program = (
        "import pathlib, time, dignified_jax\n"
        "try:\n"
        "    pathlib.Path('begun').touch(); time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    raise SystemExit(7)\n"
    )
    assert interrupted(["-c", program], tmp_path, tmp_path / "begun") == (7, "")


def test_the_exit_status_is_mains(monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as stop:
        entry.run(lambda: 3)
    assert stop.value.code == 3


@pytest.mark.parametrize(("without", "hidden"), [(True, True), (False, False)])
def test_light_imports_hide_torch_only_where_a_command_said_so(without, hidden, tmp_path):
    """From a library that takes PyTorch where it is there; afterwards it is there again."""
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "library.py").write_text(
        "import os\ntry:\n    import torch\n    has = True\nexcept ImportError:\n    has = False\n"
        "advice = os.environ.get('TRANSFORMERS_NO_ADVISORY_WARNINGS')\n"
    )
    program = textwrap.dedent(f"""
        import os
        from dignified_jax.console import entry
        def main():
            with entry.light_imports():
                import library
            import torch
            left = os.environ.get('TRANSFORMERS_NO_ADVISORY_WARNINGS')
            print(library.has, library.advice, left)
            return 0
        entry.run(main, without_torch={without})
    """)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == (["False", "1", "None"] if hidden else ["True", "None", "None"])


def test_an_end_does_not_depend_on_who_reads_stderr(monkeypatch):
    """As of `... 2>&1 | tee log`, whose tee the same Ctrl-C ends, perhaps first."""

    def gone(*_):
        raise BrokenPipeError(32, "Broken pipe")

    class Ended(BaseException):
        pass

    def leave(status):
        raise Ended(status)

    handlers = []
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
    monkeypatch.setattr(signal, "signal", lambda _, handler: handlers.append(handler))
    monkeypatch.setattr(entry, "_handler", None)
    entry._end_at_interrupt("interrupted")
    monkeypatch.setattr(os, "write", gone)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(Ended, match="130"):
        handlers[0](signal.SIGINT, None)
    told = []
    alone = types.SimpleNamespace(_tell_end=lambda *_, **content: told.append(content))
    with pytest.raises(Ended, match="1"):
        wire.Wire._end(alone, "process 1 is lost")
    assert told == [{"reason": "process 1 is lost", "whole": True}]
