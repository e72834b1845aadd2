"""Makes the pictures of review.md: `python -m docs.review_pictures` (Chromium and Playwright).

Rows are embedded ones; three made-up reviewers of different severity judge most of them.
"""

from __future__ import annotations

import io
import pathlib
import random
import tempfile

from PIL import Image
from playwright import sync_api

from dignified_jax.data.rows import read_rows
from dignified_jax.embedded import resolve
from dignified_jax.review import (
    accounts,
    assignment,
    database,
    editing,
    importing,
    judging,
    pairs,
    progress,
    rubric,
    sessions,
)
from dignified_jax.review.database import Database
from dignified_jax.review.tables import DISPUTED
from tests.review.browser import chromium, served

DOCS = pathlib.Path(__file__).parent
PEOPLE = {"ada": "admin", "grace": "reviewer", "linus": "reviewer", "hedy": "reviewer"}
SEVERITY = {2: 0.05, 3: 0.15, 4: 0.35}
DESK, PHONE = {"width": 1100, "height": 900}, {"width": 390, "height": 844}


def build(directory: pathlib.Path) -> tuple[Database, dict[str, str]]:
    """Returns a review in the midst of its work, and the cookies of its people."""
    dimensions = ("A", "T", "E", "C")
    asked = rubric.read(rubric.DEFAULT_FILE, dimensions)
    made = database.create(directory / "review.db", dimensions, 2, asked)
    importing.add(made, [read_rows(resolve("embedded:personaknob_mini/test.jsonl"))])
    with made.writing() as session:
        added = {name: accounts.add(session, name, role) for name, role in PEOPLE.items()}
        cookies = {name: sessions.begin(session, each, "") for name, each in added.items()}
    assignment.deal(made)
    source = random.Random(0)
    for who, severity in SEVERITY.items():
        for _ in range(60):
            with made.writing() as session:
                pair_id = progress.next_pair(session, who)
                view = pairs.view(session, made.project.secret, who, pair_id)
                bad = _lies_low(pair_id, "accept", severity, source)
                ticks = [i for i in asked.items if not _lies_low(pair_id, i, severity, source)]
                said = judging.Opinion(
                    "reject" if bad else "accept", view.choice("golden"), tuple(ticks), ""
                )
                judging.judge(session, view, who, said, view.seen)
    return made, cookies


def _lies_low(pair_id: int, question: str, severity: float, source: random.Random) -> bool:
    """Returns whether someone says no: the more severe it is, the better a pair has to be."""
    quality = random.Random(f"{pair_id} {question}").random()
    return quality + source.gauss(0, 0.1) < severity


def shoot(page: sync_api.Page, name: str, colours: int = 64) -> None:
    """Writes a whole page as a small PNG."""
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    picture.quantize(colours).save(DOCS / f"review-{name}.png", optimize=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, sync_api.sync_playwright() as playwright:
        made, cookies = build(pathlib.Path(directory))
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        with served(made) as address:

            def visit(name: str, path: str, **options: object) -> sync_api.Page:
                context = browser.new_context(base_url=address, **options)
                cookie = {"name": "review", "value": cookies[name], "url": address}
                context.add_cookies([cookie])
                page = context.new_page()
                page.goto(path)
                return page

            with made.reading() as session:
                disputed = progress.page_of_pairs(session, 1, DISPUTED)[0][0].pair_id
                view = pairs.view(session, made.project.secret, 2, disputed)
            page = visit("grace", "/next", viewport=DESK)
            page.keyboard.press("1")
            shoot(page, "pair")
            phone = {"viewport": PHONE, "is_mobile": True, "has_touch": True}
            shoot(visit("grace", "/next", color_scheme="dark", **phone), "phone")
            shoot(visit("ada", f"/pairs/{disputed}", viewport=DESK), "decide")
            shoot(visit("ada", "/agreement", viewport=DESK, color_scheme="dark"), "agreement")
            golden = view.text(str(view.golden_place))
            with made.writing() as session:
                for who, said in ((2, f"{golden} Take care."), (3, f"{golden} All the best.")):
                    editing.edit(session, view.row.id, "golden", said, 1, who)
                kept = progress.unresolved(session)[0].id
            shoot(visit("ada", f"/edits/{kept}", viewport=DESK), "conflict")
        browser.close()
        made.close()


if __name__ == "__main__":
    main()
