"""Pages of accounts: links that work once, passwords, roles, ends."""

import re

import pytest
from sqlmodel import select

from dignified_jax.review import accounts
from dignified_jax.review.tables import Account, Invitation

pytestmark = pytest.mark.wiring


def test_a_link_signs_in_once_and_a_password_after_that(review, browse):
    ada = browse("ada")
    made = ada.submit("/accounts", name="Hedy", role="reviewer")
    link = re.search(r"<code>http://127.0.0.1(/invite/[\w-]+)</code>", made.text)[1]
    assert "/invite/" not in ada.see("/accounts")  # shown once
    hedy = browse()
    for _ in range(2):  # looking at it, as programs do that preview links, uses nothing up
        assert "Sign in as hedy" in hedy.see(link)
    assert hedy.submit(link).headers["location"] == "/account"
    assert hedy.submit(link).status_code == 403  # a form of before the sign-in
    hedy.see("/account")
    assert hedy.submit(link).status_code == 404
    for fields, said in (
        ({"password": "short", "again": "short"}, "10 to 1,000"),
        ({"password": "long enough 1", "again": "long enough 2"}, "differ"),
    ):
        sent = hedy.submit("/account", **fields)
        assert sent.status_code == 400 and said in sent.text
    assert (
        hedy.submit("/account", password="long enough 1", again="long enough 1").status_code == 303
    )
    assert "password is set" in hedy.see("/?after=password")
    hedy.submit("/logout")
    hedy.see("/login")
    assert hedy.submit("/login", name="hedy", password="long enough 2").status_code == 401
    assert hedy.submit("/login", name=" HEDY", password="long enough 1").status_code == 303
    with review.reading() as session:
        stored = accounts.find(session, "hedy").password_hash
    assert stored.startswith("$argon2id$") and "long enough" not in stored


def test_a_password_is_changed_with_the_present_one_and_ends_other_sessions(review, browse):
    browsers = [browse("grace"), browse("grace")]
    new = {"password": "first password", "again": "first password"}
    assert browsers[0].submit("/account", **new).status_code == 303
    assert browsers[1].get("/").status_code == 303
    browsers[0].see("/account")
    new = {"password": "second password", "again": "second password"}
    assert browsers[0].submit("/account", current="wrong", **new).status_code == 401
    assert browsers[0].submit("/account", current="first password", **new).status_code == 303


def test_an_account_that_ended_is_out_at_once(review, browse):
    grace, ada = browse("grace"), browse("ada")
    ada.see("/accounts")
    assert ada.submit("/accounts/2/end").status_code == 303
    assert grace.get("/").headers["location"] == "/login"
    assert ada.submit("/accounts/1/end").status_code == 400  # not one's own
    sent = ada.submit("/accounts/2/link")  # and back again
    assert "/invite/" in sent.text
    with review.reading() as session:
        assert session.get(Account, 2).active


def test_old_and_replaced_links_are_worth_nothing(review, browse):
    with review.writing() as session:
        grace = accounts.find(session, "grace")
        first = accounts.invite(session, grace)
        accounts.invite(session, grace)
        expired = accounts.invite(session, accounts.find(session, "linus"), days=-1)
        assert len(session.exec(select(Invitation)).all()) == 2
    for token in (first, expired, "invented"):
        browse().see(f"/invite/{token}", status=404)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "  ", "role": "reviewer"}, "1 to 80"),
        ({"name": "GRACE", "role": "reviewer"}, "already"),
        ({"name": "new", "role": "owner"}, "A role is"),
        ({"name": "a\nb", "role": "reviewer"}, "printable"),
    ],
)
def test_bad_accounts_are_told(browse, fields, said):
    ada = browse("ada")
    sent = ada.submit("/accounts", **fields)
    assert sent.status_code == 400 and said in sent.text


def test_an_address_that_is_used_leads_to_the_start(browse):
    assert browse("grace").get("/login").headers["location"] == "/"
