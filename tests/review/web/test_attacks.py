"""Attempts that have to fail: scripts in texts, forged forms, fixed sessions, paths, queries."""

import html
import html.parser
import json
import re

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from dignified_jax.data.schema import PreferenceRow
from dignified_jax.review import accounts, importing
from dignified_jax.review.tables import Account, AuditEntry, Judgment, LoginSession
from dignified_jax.review.web import lists
from dignified_jax.review.web.app import create_app
from dignified_jax.review.web.guard import POLICY
from dignified_jax.review.web.site import MOST_BYTES, MOST_BYTES_OF_STRANGERS
from tests.review.conftest import BASE, CHEAP, seen

pytestmark = pytest.mark.wiring

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)> '",
    "{{ 7*7 }}{% raw %}",
    "</textarea></div><script>alert(2)</script>",
    "a\x1b[31mred\x1b[0m \u202edcba\u202c",
    "javascript:alert(1) <a href='javascript:alert(1)'>x</a>",
)
PAGES = (
    *("/", "/mine", "/pairs", "/adjudicate", "/agreement", "/accounts", "/audit", "/account"),
    *("/pairs/8", "/pairs/8/history", "/pairs/8/edit/1", "/pairs/8/edit/q0", "/next"),
)
FORMS = (
    *("/pairs/1/judgment", "/pairs/1/decision", "/pairs/1/edit/1", "/pairs/1/keep/1", "/assign"),
    *("/accounts", "/accounts/2/link", "/accounts/2/end", "/account", "/agreement", "/logout"),
)


@pytest.fixture
def hostile(review):
    rows = [
        PreferenceRow(text, f"{text} golden", {"A": f"{text} reject"}, seed_scene=text)
        for text in HOSTILE
    ]
    importing.add(review, [rows])


def test_hostile_texts_are_shown_and_never_run(review, browse, hostile):
    ada = browse("ada")
    for number in range(len(HOSTILE)):
        for path in ("", "/edit/1", "/edit/q0"):
            text = ada.see(f"/pairs/{8 + number}{path}")
            assert text.count("<script") == 2  # our own two
            assert not re.search(r"<img|onerror=alert\(1\)>|<a href='java", text)
            assert "&lt;script&gt;" in text or "<script>" not in HOSTILE[number]
            assert len(re.findall("</textarea>", text)) == 1
            if path != "":  # verbatim in the field
                continue
            assert "\x1b" not in text and "\u202e" not in text
    text = ada.see("/pairs/12")
    assert '<span class="hidden-character">U+001B</span>[31mred' in text
    assert '<span class="hidden-character">U+202E</span>dcba' in text
    assert "{{ 7*7 }}{% raw %}" in ada.see("/pairs/10")
    assert "<script>alert" not in ada.see("/pairs")


def test_hostile_notes_names_and_edits_are_escaped(review, browse):
    ada, bad = browse("ada"), "<script>alert(1)</script>"
    word = seen(ada.see("/pairs/1"))
    ada.submit("/pairs/1/decision", seen=word, choice="1", verdict="reject", note=bad)
    ada.submit("/pairs/1/edit/1", base="1", text=bad)
    ada.submit("/accounts", name=bad, role="reviewer")
    ada.submit("/login", name=bad, password=bad)
    for path in (
        "/pairs/1",
        "/pairs/1/history",
        "/accounts",
        "/audit",
        "/pairs/1?after=" + bad[:15],
    ):
        assert "<script>alert" not in ada.see(path)
    sent = ada.submit("/pairs/2/decision", seen="1", choice=bad, verdict=bad, note=bad)
    assert sent.status_code == 400 and "<script>alert" not in sent.text
    assert "<script>alert" not in browse().submit("/login", name=bad, password="x").text


def test_every_answer_binds_the_browser(browse):
    ada = browse("ada")
    for path in ("/login", "/pairs/1", "/nothing", "/static/review.js", "/static/none"):
        headers = ada.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == ("no-cache" if "static" in path else "no-store")
    assert "unsafe" not in POLICY and "default-src 'none'" in POLICY


class Tags(html.parser.HTMLParser):
    """Collects the tags of a page and what stands between <script> and </script>."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.code = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.code += data


def test_pages_have_no_code_or_style_of_their_own(browse, hostile):
    ada = browse("ada")
    for path in PAGES[:-1]:
        page = Tags(ada.see(path))
        assert page.code == ""
        for tag, attributes in page.tags:
            assert tag not in ("style", "iframe", "img", "object", "base"), path
            assert not [name for name in attributes if name.startswith(("on", "hx-on", "style"))]
            for name in ("href", "src", "action"):
                assert re.match(r"/(?!/)|#main|\?", attributes.get(name, "/")), attributes


def test_strangers_see_nothing(browse):
    for path in PAGES:
        answer = browse().get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login"), path
    stranger = browse()
    stranger.see("/login")
    for path in FORMS:
        assert stranger.submit(path).status_code == 401, path


def test_forged_forms_change_nothing(review, browse):
    ada = browse("ada")
    for path in FORMS:
        for word in ("", "0" * 64, browse("grace").word, "é")[: 4 if path == FORMS[0] else 1]:
            ada.word = word  # the page that refuses it has the true one
            sent = ada.submit(path, seen="1", choice="1", verdict="accept")
            assert sent.status_code == 403, (path, word)
    with review.reading() as session:
        assert session.exec(select(Judgment)).all() == []
        assert len(session.exec(select(LoginSession)).all()) >= 1
        assert all(each.active for each in session.exec(select(Account)))


def test_forms_of_other_sites_are_refused_even_with_the_word(browse):
    ada = browse("ada")
    for origin, status in (("http://evil.example", 400), ("null", 400), (BASE, 303)):
        sent = ada.post("/assign", data={"form_token": ada.word}, headers={"origin": origin})
        assert sent.status_code == status


def test_no_form_of_another_kind_is_read(browse):
    ada = browse("ada")
    for kind in ("text/plain", "application/json", "multipart/form-data; boundary=x", ""):
        body = f"form_token={ada.word}"
        sent = ada.post("/assign", content=body, headers={"content-type": kind})
        assert sent.status_code == 400


def test_the_site_answers_to_its_own_name_only(app):
    for host, status in (
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost:80", 200),
    ):
        with TestClient(app, base_url=f"http://{host}") as client:
            assert client.get("/login").status_code == status


def test_a_session_that_was_fixed_is_worth_nothing(review, browse):
    with review.writing() as session:
        accounts.set_password(session, accounts.find(session, "grace"), "a long password", CHEAP)
    victim, fixed = browse(), "A" * 43
    victim.cookies.set("review", fixed)
    victim.see("/login")
    sent = victim.submit("/login", name="grace", password="a long password")
    assert sent.status_code == 303
    fresh = sent.cookies["review"]
    assert fresh != fixed and "HttpOnly" in sent.headers["set-cookie"]
    assert "SameSite=lax" in sent.headers["set-cookie"]
    thief = browse()
    thief.cookies.set("review", fixed)
    assert thief.get("/").status_code == 303
    with review.reading() as session:  # a copy of the file signs nobody in
        kept = session.exec(select(LoginSession.digest)).all()
    assert fresh.encode() not in kept


def test_each_sign_in_and_sign_out_ends_the_cookie_before(review, browse):
    with review.writing() as session:
        accounts.set_password(session, accounts.find(session, "grace"), "a long password", CHEAP)
    browser = browse()
    used = []
    for _ in range(2):
        browser.see("/login")
        sent = browser.submit("/login", name="Grace ", password="a long password")
        used.append(sent.cookies["review"])
        browser.see("/")
        browser.submit("/logout")
    for cookie in used:
        other = browse()
        other.cookies.set("review", cookie)
        assert other.get("/").headers["location"] == "/login"


def test_a_secure_site_marks_its_cookie(review):
    client = TestClient(create_app(review, CHEAP, secure=True), base_url="https://127.0.0.1")
    answer = client.get("/login")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-review=") and "Secure" in cookie and "Path=/" in cookie
    assert "max-age" in answer.headers["strict-transport-security"]


def test_roles_keep_to_their_pages(browse):
    for name, refused in {
        "grace": ("/pairs", "/adjudicate", "/agreement", "/accounts", "/audit", "/edits/1"),
        "judy": ("/accounts", "/audit"),
    }.items():
        browser = browse(name)
        for path in refused:
            browser.see(path, status=403)
    grace = browse("grace")
    for path in ("/pairs/1/decision", "/assign", "/accounts", "/accounts/2/end", "/agreement"):
        assert grace.submit(path).status_code == 403


NOWHERE = (
    *(
        "/static/../site.py",
        "/static/%2e%2e/site.py",
        "/static/..%2fsite.py",
        "/static//etc/passwd",
    ),
    *(
        "/pairs/0",
        "/pairs/1%20OR%201=1",
        "/pairs/99999999999999999999",
        "/pairs/-1",
        "/pairs/999",
    ),
    *("/pairs/1/edit/golden", "/pairs/1/edit/3", "/pairs/1/edit/q9", "/pairs/1/edit/q0'--"),
    *("/pairs/1/edit/..%2f..", "/pairs?show='%20OR%201=1", "/mine?page=0", "/mine?page=1e9"),
    *("/edits/1", "/edits/x", "/docs", "/openapi.json", "/audit?page=-1", "/pairs/\u0661"),
    f"/pairs/{10**20}",
)


def test_paths_and_queries_lead_nowhere(browse):
    ada = browse("ada")
    for path in NOWHERE:
        answer = ada.get(path)
        assert answer.status_code == 404, path
        assert "no such page" in answer.text, path


def test_sql_in_fields_is_text(review, browse):
    stranger, ada = browse(), browse("ada")
    stranger.see("/login")
    words = ["' OR '1'='1", "'; DROP TABLE account; --", '" OR ""="', "%", "\x00"]
    for base, word in enumerate(words, start=1):
        assert stranger.submit("/login", name=word, password=word).status_code == 401
        ada.submit("/pairs/1/edit/1", base=str(base), text=f"{word} and more")
        text = ada.see("/pairs/1")
        ada.submit("/pairs/1/decision", seen=seen(text), choice="1", verdict="reject", note=word)
    with review.reading() as session:
        assert len(session.exec(select(Account)).all()) == 4
        assert session.exec(select(Judgment.note)).all() == words


def test_a_failure_is_told_plainly_and_bound_as_well(app, browse, monkeypatch):
    ada = browse("ada")
    for error, status in ((KeyError("secret"), 500), (OSError("disk full"), 503)):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(lists.progress, "progress", fail)
        quiet = TestClient(app, base_url=BASE, raise_server_exceptions=False, cookies=ada.cookies)
        answer = quiet.get("/")
        assert answer.status_code == status and "othing was saved" in answer.text
        assert "secret" not in answer.text and "Traceback" not in answer.text
        assert answer.headers["content-security-policy"] == POLICY


def test_forms_have_a_largest_size(browse):
    stranger, ada = browse(), browse("ada")
    stranger.see("/login")
    large = stranger.submit("/login", name="x" * MOST_BYTES_OF_STRANGERS, password="")
    assert large.status_code == 413
    larger = ada.submit("/pairs/1/edit/1", base="1", text="x" * MOST_BYTES)
    assert larger.status_code == 413 and "nothing was saved" in larger.text
    many = ada.post(
        "/assign",
        content="&".join(["a=b"] * 200),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert many.status_code == 400
    broken = ada.post(
        "/assign", content="a=%ff", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert broken.status_code == 400


def test_guessing_passwords_is_stopped_and_told_in_the_log(review, browse):
    with review.writing() as session:
        accounts.set_password(session, accounts.find(session, "grace"), "a long password", CHEAP)
    stranger = browse()
    stranger.see("/login")
    found = [
        stranger.submit("/login", name="grace", password=f"guess {at}").status_code
        for at in range(accounts.MOST_BY_NAME + 1)
    ]
    assert found == [401] * accounts.MOST_BY_NAME + [429]
    assert stranger.submit("/login", name="grace", password="a long password").status_code == 429
    with review.reading() as session:
        tried = session.exec(select(AuditEntry).where(AuditEntry.action == accounts.FAILED)).all()
    assert len(tried) == accounts.MOST_BY_NAME and tried[0].address == "testclient"
    assert accounts.FAILED in browse("ada").see("/audit")
    # Another name is free until the address has failed too often.
    left = accounts.MOST_BY_ADDRESS - accounts.MOST_BY_NAME
    for at in range(left):
        assert stranger.submit("/login", name=f"n{at}", password="x").status_code == 401
    assert stranger.submit("/login", name="other", password="x").status_code == 429


def test_guessing_links_is_stopped(review, browse):
    stranger = browse()
    stranger.see("/login")
    for at in range(accounts.MOST_BY_NAME):
        assert stranger.submit(f"/invite/guess{at}").status_code == 404
    assert stranger.submit("/invite/guess").status_code == 429
    with review.reading() as session:
        accounts.check_tries(session, "", "elsewhere")  # a real link is not shut by it


def test_an_origin_that_is_none_is_refused(browse):
    sent = browse("ada").get("/", headers={"origin": "http://[x"})
    assert sent.status_code == 400 and "another site" in sent.text


def test_answers_that_save_nothing_leave_the_page_and_what_was_written_on_it(browse):
    """As htmx is told: the first code that fits decides. 400, 404, 409 and 429 bring a page of
    ours, with what was written in it."""
    text = html.unescape(browse("ada").get("/").text)
    config = json.loads(re.search(r"name=\"htmx-config\" content='([^']+)'", text)[1])

    def swaps(status):
        rules = config["responseHandling"]
        return next(r["swap"] for r in rules if re.search(r["code"], str(status)))

    assert not any(swaps(status) for status in (401, 403, 413, 500, 502, 503, 504))
    assert all(swaps(status) for status in (200, 400, 404, 409, 429))
