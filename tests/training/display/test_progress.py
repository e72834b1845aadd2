"""The live display in emulated terminals, through pipes that break, and in a notebook."""

import contextlib
import fcntl
import os
import pathlib
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
import types

import pyte
import pytest

from dignified_jax.training.display import progress, status_text

ROOT = pathlib.Path(progress.__file__).parents[3]


CHILD = """
import sys
WIDTH = 1000
from dignified_jax.training.display import progress
with progress.open(500) as bar:
    for step in range(1, 501):
        bar.notify("gr\\u00fcn " + "x" * WIDTH)
        bar.step({"step": step, "loss/A": 0.5})
print("later output", flush=True)
print("finished", file=sys.stderr)
"""


def flat(step):
    """Metrics of a step, losses falling from 0.7."""
    losses = {f"loss/{k}": 0.7 - 0.01 * step for k in "ATEC"}
    return {"step": step, **losses, "lambda/A": 0.25, "tokens_per_second": 6712.0}


class Clock:
    """Moves only when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal:
    """An emulated terminal; `stream` is what a process has as its standard output."""

    def __init__(self, columns, rows=24):
        self.screen = pyte.Screen(columns, rows)
        self._pyte = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        with contextlib.suppress(OSError):  # the other side is closed
            while data := os.read(self._master, 65536):
                self._pyte.feed(data)

    def finish(self):
        """The lines on the screen, after everything was written."""
        self.stream.close()
        self._reader.join(timeout=10)
        os.close(self._master)
        return [line.rstrip() for line in self.screen.display if line.strip()]


@pytest.fixture
def terminal(monkeypatch):
    def make(columns):
        made = Terminal(columns)
        monkeypatch.setattr(sys, "stdout", made.stream)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))  # else taken from the test's own terminal
        return made

    return make


def run(steps, clock, seconds=2.0):
    """A run with a notice, an evaluation and a stray print."""
    with progress.open(steps, clock=clock) as bar:
        bar.notify("a notice")
        for step in range(1, steps + 1):
            clock.now += seconds
            bar.step(flat(step))
            if step == 2:
                bar.notify(status_text.evaluation({"eval/loss/A": 0.5}, step))
                print("printed by something else")


def test_a_terminal_of_80_columns_shows_two_lines_below_what_was_said(terminal):
    shown = terminal(80)
    run(4, Clock())
    print("after the run")
    assert shown.finish() == [
        "a notice",
        "eval 2 loss A 0.500 T     - E     - C     -",
        "printed by something else",
        "4/4 [" + "#" * 31 + "] 100%  0:08 elapsed  0:00 left  6.7k tok/s",
        "loss A 0.660 T 0.660 E 0.660 C 0.660 lambda A 0.25 T    - E    - C    -",
        "after the run",
    ]
    assert not shown.screen.cursor.hidden


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_the_display_never_wraps(terminal, columns):
    """Redrawing would pile up lines if it did."""
    shown = terminal(columns)
    with progress.open(10**5, clock=Clock()) as bar:
        for step in range(1, 6):
            bar.step(flat(step))
            bar.notify(f"said {step}")
    said = shown.finish()
    assert said[:5] == [f"said {step}" for step in range(1, 6)]
    assert len(said) == 7
    assert said[5].startswith("5/100000 [")
    assert said[6].startswith("loss A 0.650 T 0.650 E 0.650 C 0.650"[:columns])


def test_a_process_finds_the_width_of_its_terminal(terminal):
    shown = terminal(60)
    code = CHILD.replace("WIDTH = 1000", "WIDTH = 1").replace("501", "4")
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=ROOT,
        timeout=60,
        check=True,
        **{"stdin": shown.stream, "stdout": shown.stream, "stderr": shown.stream},
    )
    said = shown.finish()
    # A busy machine may take a second for the three steps.
    said[3] = re.sub(r"\d:\d\d", "0:00", said[3])
    assert said == [
        "gr\u00fcn x",
        *["gr\u00fcn x"] * 2,
        "3/500 [------------------------] 1%  0:00 elapsed  0:00 left",
        "loss A 0.500 T     - E     - C     -",
        "later output",
        "finished",
    ]


def test_before_the_first_step_the_clock_moves(terminal):
    shown = terminal(80)
    clock = Clock()
    with progress.open(3, clock=clock):
        clock.now += 95.0
        deadline = time.monotonic() + 20.0
        during = []
        while during[:2] != ["1:35 elapsed", status_text.COMPILING] and time.monotonic() < deadline:
            time.sleep(0.05)
            during = [line.rstrip() for line in shown.screen.display[:3]]
            during[0] = during[0].rpartition("  ")[2]
    assert during == ["1:35 elapsed", "compiling, then the first step", ""]
    shown.finish()


def test_an_exception_passes_and_leaves_the_terminal_in_order(terminal):
    shown = terminal(80)
    with pytest.raises(KeyboardInterrupt), progress.open(3, clock=Clock()) as bar:
        bar.step(flat(1))
        raise KeyboardInterrupt
    assert sys.stdout is shown.stream
    print("after")
    assert shown.finish()[-1] == "after"


def test_a_pipe_gets_plain_lines(capsys):
    run(3, Clock())
    header = "       step  loss A     T     E     C lambda A    T    E    C   tok/s    left"
    assert capsys.readouterr().out.split("\n") == [
        "compiling, then the first step",
        "a notice",
        header,
        "        1/3   0.690 0.690 0.690 0.690     0.25    -    -    -    6.7k       -",
        "        2/3   0.680 0.680 0.680 0.680     0.25    -    -    -    6.7k    0:02",
        "eval 2 loss A 0.500 T     - E     - C     -",
        "printed by something else",
        "        3/3   0.670 0.670 0.670 0.670     0.25    -    -    -    6.7k    0:00",
        "",
    ]


def shown_steps(text):
    cells = [line.split()[0] for line in text.splitlines() if "/" in line.split()[0]]
    return [int(cell.split("/")[0]) for cell in cells if cell[0].isdigit()]


def test_long_runs_print_a_line_every_ten_seconds_and_the_last(capsys):
    run(1000, Clock(), seconds=2.0)
    text = capsys.readouterr().out
    steps = shown_steps(text)
    assert steps == [*range(1, 1000, 5), 1000]
    assert text.count("loss A     T") == 5  # the header, again after 50 lines
    assert max(map(len, text.splitlines())) <= 79


def test_slow_long_runs_print_every_step(capsys):
    run(progress.STEPS_ALL_SHOWN + 1, Clock(), seconds=11.0)
    assert shown_steps(capsys.readouterr().out) == list(range(1, progress.STEPS_ALL_SHOWN + 2))


def test_the_time_left_leaves_the_compilation_out(capsys):
    """Resumed after 4 of 10: 60 s of compilation, then 3 s a step, evaluation counted in."""
    clock = Clock()
    with progress.open(10, 4, clock=clock) as bar:
        for step, seconds in ((5, 60.0), (6, 2.0), (7, 4.0)):
            clock.now += seconds
            bar.step(flat(step))
    left = [line.split()[-1] for line in capsys.readouterr().out.splitlines() if "/10" in line]
    assert left == ["-", "0:08", "0:09"]


def test_a_run_with_nothing_left_says_what_it_is_told(terminal):
    shown = terminal(80)
    with progress.open(4, 4) as bar:
        bar.notify("all done")
    assert shown.finish() == ["all done"]


def test_a_terminal_that_hangs_up_does_not_stop_the_run(monkeypatch):
    master, slave = pty.openpty()
    stream = os.fdopen(slave, "w")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress.open(3, clock=Clock()) as bar:
        bar.step(flat(1))
        os.close(master)
        bar.notify("nobody reads this")
        print("nor this")
        bar.step(flat(2))
    assert sys.stdout is stream
    with pytest.raises(OSError):  # it was really gone
        os.write(slave, b"x")
    with contextlib.suppress(OSError):
        stream.close()


def test_other_processes_show_nothing(capfd):
    with progress.open(2, visible=False) as bar:
        bar.notify("a notice")
        bar.step(flat(1))
    assert capfd.readouterr() == ("", "")


def test_a_dumb_terminal_gets_plain_lines(terminal, monkeypatch):
    shown = terminal(80)
    monkeypatch.setenv("TERM", "dumb")
    run(1, Clock())
    assert shown.finish()[-1].split()[:2] == ["1/1", "0.690"]


@pytest.mark.parametrize("redirect", ["| head -n 1", ">&-", ">/dev/full"])
def test_output_that_fails_does_not_stop_the_run(redirect):
    """A reader that goes away, no standard output at all, a full disk (for the display alone)."""
    if redirect == ">/dev/full" and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    child = CHILD.replace('print("later', "#") if "full" in redirect else CHILD
    command = f'set -o pipefail; "$PYTHON" -c "$CHILD" {redirect}'
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PYTHON": sys.executable, "CHILD": child, "PYTHONIOENCODING": "ascii"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr.startswith("finished\n")
    assert "Traceback" not in done.stderr
    if redirect != ">/dev/full":  # where the interpreter itself complains at its end
        assert (done.returncode, done.stderr) == (0, "finished\n")


def test_a_notebook_updates_one_output(monkeypatch, capsys):
    """IPython stands in: what a kernel's display functions were called with."""
    outputs = []

    class Handle:
        def update(self, bundle, raw):
            assert raw
            outputs[-1] = bundle

    def display(bundle, raw, display_id):
        assert raw and display_id
        outputs.append(bundle)
        return Handle()

    shell = types.SimpleNamespace(kernel=object())
    for name, content in (
        ("IPython", {"get_ipython": lambda: shell}),
        ("IPython.display", {"display": display}),
    ):
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    clock = Clock()
    run(3, clock)
    assert len(outputs) == 1
    text = outputs[0]["text/plain"].split("\n")
    assert text[0].startswith("3/3 [###") and text[1].startswith("loss A 0.670")
    assert "a notice\n" in capsys.readouterr().out
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: types.SimpleNamespace())
    run(3, clock)
    assert len(outputs) == 1  # IPython in a terminal is no notebook


def test_what_is_done_between_steps_is_shown_in_place_of_the_losses(terminal):
    screen, clock = terminal(80), Clock()
    with progress.open(10, clock=clock) as bar:
        bar.step(flat(1))
        with bar.doing("evaluating batch") as count:
            clock.now += 5
            count(1, 4)
            bar._screen._live.refresh()
            shown = bar._status.text().splitlines()
        assert bar._status.text().splitlines()[1].startswith("loss")
    assert shown[1] == "evaluating batch 1 of 4: 5 s, 15 s left"
    assert any("loss" in line for line in screen.finish())


def test_a_pipe_is_told_what_takes_more_than_ten_seconds(capsys):
    clock = Clock()
    with progress.open(1000, clock=clock) as bar:
        for _ in range(2):
            clock.now += 100
            with bar.doing("evaluating batch") as count:
                for batch in range(1, 26):
                    clock.now += 1
                    count(batch, 25)
        with bar.doing("a short one") as count:
            clock.now += 9
            count(1, 1)
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if "batch" in line or "short" in line]
    assert told == 2 * [
        "evaluating batch 10 of 25: 10 s, 15 s left",
        "evaluating batch 20 of 25: 20 s, 5 s left",
    ]
