"""A small review, copied for each test, and browsers of people who are signed in to it."""

import re
import shutil

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("sqlmodel")
pytest.importorskip("argon2")

from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from dignified_jax.data.schema import PreferenceRow
from dignified_jax.review import accounts, database, importing, rubric, sessions
from dignified_jax.review.web.app import create_app

# Passwords cost what they should in production; here they are many.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
BASE = "http://127.0.0.1"


def make_rows(number=4):
    """Rows of one to three dimensions, one of them a conversation."""
    masks = (("A",), ("A", "E"), ("T", "E", "C"), ("C",))
    return [
        PreferenceRow(
            f"Question {at}?"
            if at != 1
            else [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello."},
                {"role": "assistant", "content": "Hello!"},
                {"role": "user", "content": f"Question {at}?"},
            ],
            f"Golden {at}.",
            {name: f"Reject {at} of {name}." for name in masks[at % 4]},
            seed_scene=f"Scene {at}.",
            file="rows.jsonl",
            row=at + 1,
        )
        for at in range(number)
    ]


def make_review(path, rows, dimensions=("A", "T", "E", "C"), overlap=2):
    """A review of rows, without accounts."""
    asked = rubric.read(rubric.DEFAULT_FILE, dimensions)
    made = database.create(path, dimensions, overlap, asked)
    importing.add(made, [rows])
    return made


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("review") / "review.db"
    made = make_review(path, make_rows())
    with made.writing() as session:
        for name, role in (
            *(("ada", "admin"), ("grace", "reviewer"), ("linus", "reviewer")),
            ("judy", "adjudicator"),
        ):
            accounts.add(session, name, role)
    made.close()
    return path


@pytest.fixture
def review(template, tmp_path):
    """The review of `make_rows` with ada (admin), grace and linus (reviewers) and judy."""
    shutil.copy(template, tmp_path / "review.db")
    opened = database.Database(tmp_path / "review.db")
    yield opened
    opened.close()


class Browser(TestClient):
    """A browser that keeps cookies and sends forms with the word of the page it saw last."""

    def __init__(self, app):
        super().__init__(app, base_url=BASE, follow_redirects=False)
        self.word = ""

    def see(self, path, status=200):
        """The text of a page."""
        answer = self.get(path)
        assert answer.status_code == status, answer.text
        self._remember(answer)
        return answer.text

    def submit(self, path, **fields):
        """Sends a form; the answer, whatever its status."""
        answer = self.post(path, data={"form_token": self.word, **fields})
        self._remember(answer)
        return answer

    def _remember(self, answer):
        found = re.search(r'name="form_token" value="(\w+)"', answer.text)
        self.word = found[1] if found else self.word


@pytest.fixture
def app(review):
    return create_app(review, CHEAP)


@pytest.fixture
def browse(review, app):
    """Name -> a browser that is signed in; without a name, a stranger's."""

    def signed_in(name=None):
        browser = Browser(app)
        if name is not None:
            with review.writing() as session:
                token = sessions.begin(session, accounts.find(session, name), "")
            browser.cookies.set("review", token)
            browser.word = sessions.form_token(review.project.secret, token)
        return browser

    return signed_in


def seen(text):
    """The versions that a page of a pair carries."""
    return re.search(r'name="seen" value="([\d.]+)"', text)[1]
