"""Dealing: how many reviewers a row has, how many pairs a reviewer, and what is begun stays."""

import collections

import pytest
from sqlmodel import select

from dignified_jax.review import accounts, assignment, judging, pairs, progress
from dignified_jax.review.tables import Assignment, Pair
from tests.review.conftest import make_review, make_rows

pytestmark = pytest.mark.wiring


@pytest.fixture
def large(tmp_path):
    """Sixty rows, with 105 pairs, and three reviewers."""
    made = make_review(tmp_path / "review.db", make_rows(60))
    with made.writing() as session:
        for name in ("a", "b", "c"):
            accounts.add(session, name, "reviewer")
    yield made
    made.close()


def rows_of(review):
    """Reviewer -> rows in its queue."""
    found = collections.defaultdict(set)
    with review.reading() as session:
        both = select(Assignment.account_id, Pair.row_id).join(Pair, Pair.id == Assignment.pair_id)
        for who, row_id in session.exec(both):
            found[who].add(row_id)
    return found


def judge(review, who, pair_id, verdict="accept"):
    with review.writing() as session:
        view = pairs.view(session, review.project.secret, who, pair_id)
        said = judging.Opinion(verdict, view.choice("golden"), (), "")
        judging.judge(session, view, who, said, view.seen)


def test_each_row_goes_to_two_and_each_reviewer_has_alike_many(large):
    load = assignment.deal(large)
    assert sum(load.values()) == 210 and max(load.values()) - min(load.values()) <= 3
    found = rows_of(large)
    times = collections.Counter(row for rows in found.values() for row in rows)
    assert set(times.values()) == {2} and len(times) == 60
    # Any two share rows, so that their severities can be compared.
    assert all(len(found[a] & found[b]) > 10 for a, b in ((1, 2), (1, 3), (2, 3)))


def test_the_pairs_of_a_row_follow_each_other(large):
    assignment.deal(large)
    with large.reading() as session:
        queue = session.exec(
            select(Pair.row_id)
            .join(Assignment, Assignment.pair_id == Pair.id)
            .where(Assignment.account_id == 1)
            .order_by(Assignment.rank)
        ).all()
    runs = [row for at, row in enumerate(queue) if at == 0 or queue[at - 1] != row]
    assert len(runs) == len(set(runs)) and runs != sorted(runs)


def test_a_new_reviewer_gets_its_share_and_nobody_loses_what_is_begun(large):
    assignment.deal(large)
    with large.reading() as session:
        begun = progress.next_pair(session, 1)
        row_id = session.get_one(Pair, begun).row_id
    judge(large, 1, begun)
    with large.writing() as session:
        accounts.add(session, "d", "reviewer")
        accounts.deactivate(session, accounts.find(session, "c"))
    load = assignment.deal(large)
    assert set(load) == {"R1", "R2", "R4"} and max(load.values()) - min(load.values()) <= 3
    found = rows_of(large)
    assert row_id in found[1] and 3 not in found
    with large.reading() as session:
        assert progress.progress_of(session, 1)[0] == 1
    assert assignment.deal(large) == load  # the same again


def test_fewer_reviewers_than_the_overlap_have_all_rows(review):
    with review.writing() as session:
        accounts.deactivate(session, accounts.find(session, "linus"))
    assert assignment.deal(review) == {"R2": 7}


def test_dealing_reopens_and_closes_pairs(review):
    with review.writing() as session:
        accounts.deactivate(session, accounts.find(session, "linus"))
    assignment.deal(review)
    judge(review, 2, 1)
    with review.writing() as session:
        assert session.get(Pair, 1).state == "accepted"  # by the only reviewer
        accounts.find(session, "linus").active = True
    assignment.deal(review)
    with review.writing() as session:
        assert session.get(Pair, 1).state == "open"
        accounts.deactivate(session, accounts.find(session, "linus"))
    assignment.deal(review)
    with review.reading() as session:
        assert session.get(Pair, 1).state == "accepted"
