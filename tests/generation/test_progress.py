"""The line of progress: rates and times by hand, and where it is drawn."""

import io

from dignified_jax.console.progress_line import ProgressLine, duration
from dignified_jax.generation.progress import SamplingProgress


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def make(total, most, stream):
    clock = Clock()
    return SamplingProgress(total, most, ProgressLine(stream, clock), clock), clock


def test_rate_and_time_left():
    """The first tokens come after a compilation of 60 s, which is no measure of the rest."""
    progress, clock = make(4, 100, io.StringIO())
    assert progress.text() == "0 of 4 responses, starting"
    clock.now += 60
    progress.sampled(40)
    assert progress.text() == "0 of 4 responses, 40 tokens, starting"
    clock.now += 2
    progress.sampled(80)  # 40 in 2 s; 4 x 100 to come at most
    assert progress.text() == "0 of 4 responses, 80 tokens, 20 tokens/s, about 16 s left"
    progress.finished(30)  # now 4 x 30 are expected
    assert progress.text() == "1 of 4 responses, 80 tokens, 20 tokens/s, about 2 s left"
    for _ in range(3):
        progress.finished(30)
    assert progress.text() == "4 of 4 responses, 80 tokens, 20 tokens/s, 1 min 2 s"


def test_a_log_gets_a_line_every_ten_seconds_and_the_last():
    stream = io.StringIO()
    progress, clock = make(2, 10, stream)
    for second in range(25):
        clock.now = 100.0 + second
        progress.sampled(second)
    progress.close()
    assert len(stream.getvalue().splitlines()) == 4  # at 0, 10 and 20 s, and in the end


def test_a_terminal_redraws_one_line():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    progress, clock = make(2, 10, stream)
    progress.sampled(5)
    clock.now += 1
    progress.sampled(15)
    progress.close()
    assert stream.getvalue().count("\n") == 1 and stream.getvalue().count("\r") == 3


def test_durations_as_text():
    shown = [duration(seconds) for seconds in (0.4, 59.4, 61, 3599.2, 12_000)]
    assert shown == ["0 s", "59 s", "1 min 1 s", "59 min 59 s", "3 h 20 min"]
