"""The review in Chromium: by keyboard alone, on a phone, in light and dark, two people at once."""

import os
import re

import pytest
from sqlmodel import select

pytest.importorskip("playwright")
pytest.importorskip("axe_playwright_python")

from playwright import sync_api

from dignified_jax.data.rows import read_rows
from dignified_jax.data.schema import PreferenceRow
from dignified_jax.embedded import resolve
from dignified_jax.review import accounts, assignment, importing, pairs, sessions
from dignified_jax.review.tables import Edit, Judgment, Text
from tests.review.browser import chromium, served, violations
from tests.review.conftest import CHEAP, make_review
from tests.review.web.test_attacks import HOSTILE

pytestmark = [pytest.mark.slow, pytest.mark.wiring]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def review(tmp_path_factory):
    """Forty rows, hostile ones, and the four people of the other tests."""
    path = tmp_path_factory.mktemp("review") / "review.db"
    made = make_review(path, read_rows(resolve("embedded:personaknob_mini/test.jsonl")))
    importing.add(made, [[PreferenceRow(t, f"{t} good", {"A": f"{t} bad"}) for t in HOSTILE]])
    with made.writing() as session:
        for name, role in (
            *(("ada", "admin"), ("grace", "reviewer"), ("linus", "reviewer")),
            ("judy", "adjudicator"),
        ):
            accounts.set_password(session, accounts.add(session, name, role), PASSWORD, CHEAP)
    assignment.deal(made)
    yield made
    made.close()


@pytest.fixture(scope="module")
def address(review):
    with served(review) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(
                executable_path=chromium(), args=["--no-sandbox"] if os.getuid() == 0 else []
            )
        except sync_api.Error as error:
            pytest.skip(f"no Chromium: {str(error).splitlines()[0]}")
        yield started
        started.close()


@pytest.fixture
def visit(review, address, browser):
    """Opens a page as someone; scripts that fail, and code that the policy stops, are errors."""
    opened, troubles = [], []

    def open_page(name, path, **options):
        context = browser.new_context(base_url=address, **options)
        context.set_default_timeout(10_000)
        opened.append(context)
        if name is not None:
            with review.writing() as session:
                token = sessions.begin(session, accounts.find(session, name), "")
            context.add_cookies([{"name": "review", "value": token, "url": address}])
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append(dialog.message) or dialog.dismiss())
        page.on(
            "console",
            lambda said: "Security Policy" in said.text and troubles.append(said.text),
        )
        page.goto(path)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert troubles == []


def place(review, number, pair_id):
    return pairs.golden_place(review.project.secret, number, pair_id)


def focused(page):
    return page.evaluate("document.activeElement.textContent.trim()")


def test_everything_by_keyboard_alone(review, visit):
    page = visit(None, "/")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    page.keyboard.press("Tab")
    page.keyboard.type("linus")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/")
    page.wait_for_selector("text=Hello, linus")
    page.keyboard.press("g")
    page.wait_for_url("**/pairs/*")
    page.wait_for_selector("h1:focus")  # where a reader goes on
    first = int(page.url.rpartition("/")[2])
    page.keyboard.press("a")  # the browser asks for a choice first
    assert page.url.endswith(f"/pairs/{first}")
    for key in (str(place(review, 3, first)), "q", "t", "t", "u"):
        page.keyboard.press(key)
    page.keyboard.press("n")
    page.keyboard.type("a, r and 2 are letters here")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.wait_for_selector("text=Accepted and saved.")
    assert page.url.endswith("?after=accept") and f"/pairs/{first}?" not in page.url
    with review.reading() as session:
        saved = session.exec(select(Judgment).where(Judgment.pair_id == first)).one()
    assert (saved.verdict, saved.better, saved.ticks) == ("accept", "golden", ["S1", "R2"])
    assert saved.note == "a, r and 2 are letters here"
    # An edit, saved from within its text.
    second = int(re.search(r"pairs/(\d+)", page.url)[1])
    page.keyboard.press("j")
    page.wait_for_url(f"**/pairs/{second}/edit/1")
    page.wait_for_selector("textarea:focus")
    page.keyboard.press("Control+Home")
    page.keyboard.type("Anew: ")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=The text is saved")
    assert page.locator("#response1 >> xpath=../..").inner_text().find("Anew: ") > 0
    page.keyboard.press("h")
    page.wait_for_selector("ins:has-text('Anew')")
    page.go_back()
    page.wait_for_url(f"**/pairs/{second}*")
    # Switched off, letters do nothing.
    page.locator("#shortcuts").focus()
    page.keyboard.press("Space")
    page.keyboard.press("2")
    assert page.locator("input[name=choice]:checked").count() == 0
    page.reload()
    page.keyboard.press("2")
    assert page.locator("input[name=choice]:checked").count() == 0


def test_two_people_edit_the_same_text(review, visit):
    with review.reading() as session:
        row_id = session.get_one(pairs.Pair, 20).row_id
        before = session.get_one(Text, (row_id, "golden")).text
    mine, theirs = place(review, 2, 20), place(review, 3, 20)
    grace, linus = (
        visit("grace", f"/pairs/20/edit/{mine}"),
        visit("linus", f"/pairs/20/edit/{theirs}"),
    )
    grace.fill("#text", "Golden of grace")
    linus.fill("#text", "Golden of linus")
    grace.click("text=Save")
    grace.wait_for_selector("text=The text is saved")
    linus.click("text=Save")
    linus.wait_for_selector("text=Two people changed this text")
    assert linus.locator("del").inner_text() == "grace"
    assert linus.locator("ins").inner_text() == "linus"
    assert violations(linus) == []
    with review.reading() as session:
        edits = session.exec(select(Edit).where(Edit.row_id == row_id).order_by(Edit.id)).all()
        assert [each.text for each in edits] == [before, "Golden of grace", "Golden of linus"]
        assert session.get_one(Text, (row_id, "golden")).text == "Golden of grace"
    linus.goto("/pairs/20/history")
    shown = linus.locator("main").inner_text()
    assert "R2" in shown and "R3" in shown and "to be decided" in shown
    judy = visit("judy", "/adjudicate")
    judy.click(f"text=Row {row_id}, edited")
    judy.click("text=Keep it as it is now")
    judy.wait_for_selector("text=The text stays as it is")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("options", [{}, PHONE], ids=["desk", "phone"])
def test_no_page_has_an_axe_violation(visit, scheme, options):
    page = visit("ada", "/", color_scheme=scheme, **options)
    paths = ("/pairs/1", "/pairs/1/edit/1", "/pairs/1/history", "/pairs/20/history", "/pairs")
    decided = ("/adjudicate", "/agreement", "/accounts", "/audit", "/account", "/nothing")
    for path in ("/", *paths, *decided):
        page.goto(path)
        assert violations(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) < 200) == (scheme == "dark")
    stranger = visit(None, "/login", color_scheme=scheme, **options)
    assert violations(stranger) == []


def test_axe_sees_what_is_wrong(visit):
    page = visit("ada", "/")
    page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    assert [line.split(":")[0] for line in violations(page)] == ["label"]


def test_a_phone_stacks_the_responses_and_has_room_for_fingers(visit):
    page = visit("grace", "/pairs/2", **PHONE)
    one, two = (page.locator(f"#response{n} >> xpath=../..").bounding_box() for n in (1, 2))
    assert two["y"] >= one["y"] + one["height"] and one["x"] == two["x"]
    for target in page.locator("main a, main button, main fieldset label").all():
        assert target.bounding_box()["height"] >= 44
    desk = visit("grace", "/pairs/2")
    one, two = (desk.locator(f"#response{n} >> xpath=../..").bounding_box() for n in (1, 2))
    assert one["y"] == two["y"] and two["x"] >= one["x"] + one["width"]


def test_hostile_texts_do_nothing_in_a_browser(review, visit):
    with review.reading() as session:
        last = session.exec(select(pairs.Pair.id).order_by(pairs.Pair.id.desc())).first()
    page = visit("ada", "/")
    for pair_id in range(last - len(HOSTILE) + 1, last + 1):
        for path in ("", "/edit/1", "/history"):
            page.goto(f"/pairs/{pair_id}{path}")
            assert page.locator("main script, main img, main .text a").count() == 0
            assert violations(page) == []
    assert page.evaluate("typeof alert") == "function"


def test_it_works_without_scripts(review, visit):
    page = visit("grace", "/next", java_script_enabled=False)
    at = page.url
    page.check("input[name=choice][value='0']")
    page.click("text=Reject")
    assert "after=reject" in page.url and page.url != at


def test_a_server_that_is_gone_costs_no_words(visit):
    page = visit("grace", "/pairs/5/edit/1")
    page.fill("#text", "Words that took long")
    page.context.set_offline(True)
    page.click("text=Save")
    page.wait_for_selector("text=can't be reached")
    assert page.input_value("#text") == "Words that took long"
    page.context.set_offline(False)
    page.click("text=Save")
    page.wait_for_selector("text=The text is saved")


def test_a_session_that_ended_costs_no_words(visit):
    page = visit("grace", "/pairs/6/edit/1")
    page.fill("#text", "Words that took long")
    page.context.clear_cookies()
    page.click("text=Save")
    page.wait_for_selector("#trouble:visible")
    assert page.input_value("#text") == "Words that took long"
    assert "not" in page.inner_text("#trouble")


def test_a_proxy_that_finds_no_server_costs_no_words(visit):
    page = visit("grace", "/pairs/5/edit/1")
    page.fill("#text", "Words that took long")
    page.route("**/edit/1", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    page.click("text=Save")
    page.wait_for_selector("#trouble:visible")
    assert "Nothing was saved" in page.inner_text("#trouble")
    assert page.input_value("#text") == "Words that took long"


def test_long_texts_are_reached_by_keys_and_printed_whole(review, visit):
    with review.writing() as session:
        row_id = session.get_one(pairs.Pair, 2).row_id
        session.get_one(Text, (row_id, "golden")).text = "A long line.\n" * 300
    page = visit("grace", "/pairs/2")
    places = [each.get_attribute("tabindex") for each in page.locator(".text").all()]
    assert places.count("0") == 1 and set(places) == {None, "0"}
    assert violations(page) == []
    page.emulate_media(media="print")
    whole = "[...document.querySelectorAll('.text')].every(e => e.scrollHeight <= e.clientHeight)"
    assert page.evaluate(whole)
