"""Links of the README to files outside docs/ lead to the pages that include those files."""

from __future__ import annotations

import pathlib

from sphinx.application import Sphinx

PAGES = {
    "(benchmarks/RESULTS.md)": "(docs/results.md)",
    "(CONTRIBUTING.md)": "(docs/contributing.md)",
}


def _rewrite(app: Sphinx, path: pathlib.Path, docname: str, content: list[str]) -> None:
    del app, path, docname
    for link, page in PAGES.items():
        content[0] = content[0].replace(link, page)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("include-read", _rewrite)
    return {"parallel_read_safe": True}
