"""Pages of pairs: what they show, and what becomes of what is sent."""

import re

import pytest
from sqlmodel import select

from dignified_jax.review import assignment, pairs, progress
from dignified_jax.review.tables import Judgment, Pair
from tests.review.conftest import seen

pytestmark = pytest.mark.wiring


NUMBERS = {"ada": 1, "grace": 2, "linus": 3, "judy": 4}


def place_of_golden(review, name, pair_id):
    return pairs.golden_place(review.project.secret, NUMBERS[name], pair_id)


def answer(
    review, browser, name, pair_id, verdict="accept", better="golden", kind="judgment", **more
):
    """Judges as someone who finds that response better."""
    golden = place_of_golden(review, name, pair_id)
    choice = {"golden": golden, "reject": 3 - golden, "neither": 0}[better]
    text = browser.see(f"/pairs/{pair_id}")
    fields = {"seen": seen(text), "choice": str(choice), "verdict": verdict, **more}
    return browser.submit(f"/pairs/{pair_id}/{kind}", **fields)


def state(review, pair_id):
    with review.reading() as session:
        return session.get(Pair, pair_id).state


def test_a_page_shows_all_texts_and_not_which_is_golden(review, browse):
    browser = browse("grace")
    text = browser.see("/pairs/2")
    for said in ("Be brief.", "Hello!", "Question 1?", "Golden 1.", "Reject 1 of A.", "Scene 1."):
        assert said in text
    assert "Reject 1 of E." not in text
    bare = text.replace("Golden 1.", "").replace("Reject 1 of A.", "")
    bare = re.sub(r'value="reject"[^>]*>Reject', "", bare)
    assert not re.search(r"golden|reject", bare, re.IGNORECASE)


def test_the_order_is_each_person_s_own_and_even(review, browse):
    with review.reading() as session:
        for name, number in (("grace", 2), ("linus", 3)):
            view = pairs.view(session, review.project.secret, number, 1)
            assert view.responses[view.golden_place - 1] == "Golden 0."
            text = browse(name).see("/pairs/1")
            assert (text.index("Golden 0.") < text.index("Reject 0 of A.")) == (
                view.golden_place == 1
            )
    places = [pairs.golden_place(b"key", who, pair) for who in range(20) for pair in range(100)]
    assert 900 < places.count(1) < 1100  # 1000 plus or minus 4.5 standard deviations
    assert places[:100] != places[100:200]


def test_two_reviewers_agree_and_the_pair_is_settled(review, browse):
    assignment.deal(review)
    grace, linus = browse("grace"), browse("linus")
    first = int(grace.get("/next").headers["location"].rpartition("/")[2])
    sent = answer(review, grace, "grace", first, tick=["S1", "N1"], note="Good.")
    assert sent.status_code == 303 and sent.headers["location"].endswith("?after=accept")
    assert sent.headers["location"] != f"/pairs/{first}?after=accept"
    assert state(review, first) == "open"  # linus is still to come
    answer(review, linus, "linus", first)
    assert state(review, first) == "accepted"
    with review.reading() as session:
        judgment = session.exec(select(Judgment)).first()
        assert progress.progress_of(session, 2) == (1, 7)
    assert (judgment.ticks, judgment.note, judgment.better) == (["S1", "N1"], "Good.", "golden")
    # What was chosen is there when the page is opened again.
    text = grace.see(f"/pairs/{first}")
    assert 'value="S1"' in text and len(re.findall(r" checked>", text)) == 4  # and the shortcuts
    assert "Good.</textarea>" in text


@pytest.mark.parametrize(
    ("verdict", "better"), [("reject", "golden"), ("reject", "neither"), ("accept", "reject")]
)
def test_reviewers_who_differ_leave_it_to_an_adjudicator(review, browse, verdict, better):
    assignment.deal(review)
    answer(review, browse("grace"), "grace", 1)
    answer(review, browse("linus"), "linus", 1, verdict=verdict, better=better)
    assert state(review, 1) == "disputed"
    judy = browse("judy")
    assert "/pairs/1" in judy.see("/adjudicate")
    text = judy.see("/pairs/1")
    assert "R2" in text and "R3" in text
    assert answer(review, judy, "judy", 1, kind="decision").headers["location"] == (
        "/adjudicate?after=accept"
    )
    assert state(review, 1) == "accepted"
    answer(review, browse("ada"), "ada", 1, "reject", kind="decision")  # the last decision counts
    assert state(review, 1) == "rejected"


def test_line_ends_of_a_note_count_once_as_browsers_count_them(review, browse):
    note = "x" * 3990 + "\r\n" * 10
    assert answer(review, browse("grace"), "grace", 1, note=note).status_code == 303
    with review.reading() as session:
        assert session.exec(select(Judgment.note)).all() == ["x" * 3990 + "\n" * 10]


def test_reviewers_do_not_see_each_other_s_judgments(review, browse):
    answer(review, browse("grace"), "grace", 1, note="My own words")
    for path in ("/pairs/1", "/pairs/1/history"):
        assert "My own words" not in browse("linus").see(path)
        assert "My own words" in browse("grace").see(path)
        assert "My own words" in browse("judy").see(path)


def test_a_second_judgment_replaces_the_first_and_both_are_kept(review, browse):
    assignment.deal(review)
    grace = browse("grace")
    answer(review, grace, "grace", 1)
    answer(review, grace, "grace", 1, "reject")
    with review.reading() as session:
        found = session.exec(select(Judgment)).all()
    assert [(each.verdict, each.current) for each in found] == [("accept", False), ("reject", True)]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"verdict": "accept"}, "which response is better"),
        ({"verdict": "accept", "choice": "0"}, "can&#39;t be accepted"),
        ({"verdict": "maybe", "choice": "1"}, "accept or reject"),
        ({"verdict": "accept", "choice": "7"}, "which response is better"),
        ({"verdict": "accept", "choice": "1", "tick": "Z9"}, "no statement"),
        ({"verdict": "accept", "choice": "1", "note": "x" * 4001}, "4000"),
    ],
)
def test_a_bad_answer_is_told_and_what_was_written_stays(review, browse, fields, said):
    grace = browse("grace")
    word = seen(grace.see("/pairs/1"))
    sent = grace.submit("/pairs/1/judgment", seen=word, **({"note": "Keep me."} | fields))
    assert sent.status_code == 400 and said in sent.text
    assert fields.get("note", "Keep me.") in sent.text
    with review.reading() as session:
        assert session.exec(select(Judgment)).all() == []


def test_texts_that_changed_meanwhile_are_judged_anew(review, browse):
    assignment.deal(review)
    grace, linus = browse("grace"), browse("linus")
    word = seen(grace.see("/pairs/1"))
    golden = place_of_golden(review, "linus", 1)
    linus.see(f"/pairs/1/edit/{golden}")
    assert linus.submit(f"/pairs/1/edit/{golden}", base="1", text="Better.").status_code == 303
    sent = grace.submit("/pairs/1/judgment", seen=word, choice="1", verdict="accept", note="Mine.")
    assert sent.status_code == 409
    assert "Better." in sent.text and "Mine." in sent.text and "nothing was" in sent.text
    with review.reading() as session:
        assert session.exec(select(Judgment)).all() == []


def test_the_first_page_counts_and_the_end_of_a_queue_is_told(review, browse):
    assignment.deal(review)
    grace = browse("grace")
    assert "0 of 7 pairs" in grace.see("/")
    for _ in range(7):
        pair_id = int(re.search(r"\d+", grace.get("/next").headers["location"])[0])
        sent = answer(review, grace, "grace", pair_id)
    assert sent.headers["location"] == "/?after=all"
    assert "All pairs of your queue" in grace.see("/?after=all")
    assert grace.get("/next").headers["location"] == "/?after=all"
    assert "7 of 7" in grace.see("/")
    assert grace.see("/mine?show=done").count('<a href="/pairs/') == 7
    assert "Nothing is listed" in grace.see("/mine?show=to%20do")
    text = browse("ada").see("/")
    assert "100 %" in text and "R2" in text
