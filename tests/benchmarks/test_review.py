"""The review under load: lists and next pairs of 20 reviewers over 10,000 rows."""

import statistics

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("argon2")

from benchmarks import review

pytestmark = [pytest.mark.slow, pytest.mark.wiring]
MOST_MILLISECONDS = 100


def test_medians_of_twenty_reviewers_over_ten_thousand_rows(tmp_path):
    made, cookies, admin = review.build(tmp_path, 10_000, 20)
    made.close()
    server, address = review.serve(made.path)
    try:
        taken = review.load(address, cookies, admin, seconds=15, think=2)
    finally:
        server.terminate()
        server.wait()
    assert len(taken[review.NEXT]) > 20 and len(taken[review.MINE]) > 5
    assert "| judge, and get the next pair |" in review.markdown(taken)
    for name, values in taken.items():
        assert statistics.median(values) < MOST_MILLISECONDS, (name, values)
