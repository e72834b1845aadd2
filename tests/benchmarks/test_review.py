"""The review under load: lists and next pairs of 20 reviewers over 10,000 rows."""

import os
import pathlib
import statistics

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("argon2")

from benchmarks import review

pytestmark = [pytest.mark.slow, pytest.mark.wiring]
MOST_MILLISECONDS = 100


def cpu_milliseconds(process):
    """Milliseconds of CPU that a process has used."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return 1e3 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not pathlib.Path("/proc/self/stat").exists(), reason="no /proc")
def test_medians_of_twenty_reviewers_over_ten_thousand_rows(tmp_path):
    made, cookies, admin = review.build(tmp_path, 10_000, 20)
    made.close()
    server, address = review.serve(made.path)
    try:
        before = cpu_milliseconds(server)
        taken = review.load(address, cookies, admin, seconds=15, think=2)
        used = cpu_milliseconds(server) - before
    finally:
        server.terminate()
        server.wait()
    assert len(taken[review.NEXT]) > 20 and len(taken[review.MINE]) > 5
    assert "| judge, and get the next pair |" in review.markdown(taken)
    # Ten requests a second leave the server idle most of the time, whatever else runs here.
    assert used / sum(map(len, taken.values())) < MOST_MILLISECONDS / 2
    if os.getloadavg()[0] < 2 * os.cpu_count():  # beside other work, time tells of that
        for name, values in taken.items():
            assert statistics.median(values) < MOST_MILLISECONDS, (name, values)
