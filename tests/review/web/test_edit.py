"""Edits: kept for ever, their conflicts shown, judgments of the old text ended."""

import re
import time

import pytest
from sqlmodel import select

from dignified_jax.review import assignment, editing
from dignified_jax.review.tables import Assignment, Edit, Judgment, Pair, Text
from dignified_jax.review.web.texts import changes, visible
from tests.review.web.test_judge import answer, place_of_golden, state

pytestmark = pytest.mark.wiring


def golden(review, row_id=1):
    with review.reading() as session:
        found = session.get(Text, (row_id, "golden"))
        return found.text, found.version


def slot(review, name, pair_id):
    return place_of_golden(review, name, pair_id)


def test_two_edits_at_once_are_both_kept_and_the_conflict_is_shown(review, browse):
    grace, linus = browse("grace"), browse("linus")
    mine, theirs = slot(review, "grace", 1), slot(review, "linus", 1)
    for browser, place in ((grace, mine), (linus, theirs)):
        assert 'name="base" value="1"' in browser.see(f"/pairs/1/edit/{place}")
    done = grace.submit(f"/pairs/1/edit/{mine}", base="1", text="Golden by grace.")
    assert done.headers["location"] == "/pairs/1?after=edited"
    met = linus.submit(f"/pairs/1/edit/{theirs}", base="1", text="Golden by linus.")
    assert met.status_code == 409
    for said in ("Golden by grace.", "Golden by linus.", "<del>grace</del><ins>linus</ins>"):
        assert said in met.text
    assert golden(review) == ("Golden by grace.", 2)
    with review.reading() as session:
        kept = session.exec(select(Edit).order_by(Edit.id)).all()
    assert [(e.text, e.base, e.version, e.user_id, e.unresolved) for e in kept] == [
        ("Golden 0.", 0, 1, None, False),
        ("Golden by grace.", 1, 2, 2, False),
        ("Golden by linus.", 1, None, 3, True),
    ]
    judy = browse("judy")
    assert f"/edits/{kept[-1].id}" in judy.see("/adjudicate")
    assert "Golden by linus." in judy.see(f"/edits/{kept[-1].id}")
    text = linus.see("/pairs/1/history")
    assert "R2" in text and "R3" in text and "to be decided" in text
    # Joined with the present text, the conflict ends.
    joined = {"base": "2", "text": "Golden by both.", "resolves": str(kept[-1].id)}
    assert linus.submit(f"/pairs/1/edit/{theirs}", **joined).status_code == 303
    assert golden(review) == ("Golden by both.", 3)
    judy.see(f"/edits/{kept[-1].id}", status=404)
    shown = re.sub("<del>.*?</del>|<.*?>", "", linus.see("/pairs/1/history"))
    assert "Golden by linus." in shown and "Golden by grace." in shown and "Golden 0." in shown


def test_a_conflict_can_end_with_the_text_as_it_is(review, browse):
    grace = browse("grace")
    place = slot(review, "grace", 1)
    grace.submit(f"/pairs/1/edit/{place}", base="1", text="One.")
    shown = []
    for text in ("Two.", "Three."):
        met = grace.submit(f"/pairs/1/edit/{place}", base="1", text=text)
        assert met.status_code == 409
        shown.append(re.search(r'name="resolves" value="(\d+)"', met.text)[1])
    assert grace.submit(f"/pairs/1/keep/{place}", resolves=shown[0]).status_code == 303
    assert golden(review) == ("One.", 2)
    with review.reading() as session:  # the other one is not seen to
        waiting = session.exec(select(Edit).where(Edit.unresolved)).all()
    assert [each.text for each in waiting] == ["Three."]
    # Joined with a text that is old by now it is in conflict anew, in the place of the former.
    met = grace.submit(f"/pairs/1/edit/{place}", base="1", text="Four.", resolves=shown[1])
    assert met.status_code == 409
    with review.reading() as session:
        waiting = session.exec(select(Edit).where(Edit.unresolved)).all()
    assert [each.text for each in waiting] == ["Four."]


def test_an_edit_ends_the_judgments_of_what_it_changes_and_no_others(review, browse):
    assignment.deal(review)
    grace, linus = browse("grace"), browse("linus")
    for pair_id in (2, 3):  # row 2, of A and E
        answer(review, grace, "grace", pair_id)
        answer(review, linus, "linus", pair_id)
    reject = 3 - slot(review, "grace", 2)
    assert "Reject 1 of A." in grace.see(f"/pairs/2/edit/{reject}")
    grace.submit(f"/pairs/2/edit/{reject}", base="1", text="A worse answer.")
    assert (state(review, 2), state(review, 3)) == ("open", "accepted")
    with review.reading() as session:
        left = select(Assignment.pair_id).where(~Assignment.done, Assignment.pair_id.in_((2, 3)))
        assert session.exec(left).all() == [2, 2]
        assert len(session.exec(select(Judgment).where(Judgment.current)).all()) == 2
    grace.submit("/pairs/2/edit/q3", base="1", text="Question 1, anew?")
    assert state(review, 3) == "open"


def test_line_ends_and_outer_lines_come_back_as_they_were(review, browse):
    grace = browse("grace")
    place = slot(review, "grace", 1)
    grace.submit(f"/pairs/1/edit/{place}", base="1", text="\r\n\r\nOne\r\n two \r\n")
    assert golden(review) == ("\n\nOne\n two \n", 2)
    text = grace.see(f"/pairs/1/edit/{place}")
    # A browser drops the first line end after the tag.
    assert "data-save>\n\n\nOne\n two \n</textarea>" in text
    grace.submit(f"/pairs/1/edit/{place}", base="2", text="\r\n\r\nOne\r\n two \r\n")
    assert golden(review)[1] == 2  # nothing was changed


@pytest.mark.parametrize(
    ("said", "before", "now"),
    [
        ("a\r\nb", "x\ny", "a\nb"),
        ("a\r\nb", "x\r\ny", "a\r\nb"),
        ("a\r\nb", "x\r\ny\nz", "a\nb"),
        ("a\r\nb", "x", "a\nb"),
        ("a\rb", "x", "a\rb"),
    ],
)
def test_line_ends_are_those_of_the_text_before(said, before, now):
    assert editing.restored_line_ends(said, before) == now


@pytest.mark.parametrize(
    ("said", "why"),
    [("  \u200b ", "empty"), (" Reject 0 of A. ", "the same"), ("x" * 2_000_001, "at most")],
)
def test_bad_texts_are_told_and_stay_in_the_form(review, browse, said, why):
    grace = browse("grace")
    sent = grace.submit(f"/pairs/1/edit/{slot(review, 'grace', 1)}", base="1", text=said)
    assert sent.status_code == 400 and why in sent.text and said[:1000] in sent.text
    assert golden(review) == ("Golden 0.", 1)


def test_a_version_that_is_none_is_a_conflict_and_no_failure(review, browse):
    grace = browse("grace")
    for base in ("", "x", "-1", "²", "9" * 30, "2"):
        sent = grace.submit(f"/pairs/1/edit/{slot(review, 'grace', 1)}", base=base, text=base + "!")
        assert sent.status_code == 409
    assert golden(review) == ("Golden 0.", 1)


def test_final_decisions_end_with_the_text_too(review, browse):
    judy = browse("judy")
    answer(review, judy, "judy", 1, kind="decision")
    assert state(review, 1) == "accepted"
    judy.submit(f"/pairs/1/edit/{slot(review, 'judy', 1)}", base="1", text="Other.")
    assert state(review, 1) == "open"
    with review.reading() as session:
        assert session.get(Pair, 1).state == "open"


def test_changes_are_shown_by_words():
    assert changes("a big cat", "a <b> cat") == ("a <del>big</del><ins>&lt;b&gt;</ins> cat")
    assert changes("x" * 20_000, "y") is None
    start = time.process_time()
    assert changes("a " * 4_900, "a " * 4_800 + "b") is not None
    assert time.process_time() - start < 2
    assert visible("tab\tline\r\nbell\x07\rend") == (
        'tab\tline\r\nbell<span class="hidden-character">U+0007</span>'
        '<span class="hidden-character">U+000D</span>end'
    )
