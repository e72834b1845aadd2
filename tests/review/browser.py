"""A review that is served, and Chromium to look at it with."""

import contextlib
import importlib.util
import pathlib
import shutil
import socket
import threading
import time

import uvicorn

from dignified_jax.review.web.app import create_app
from tests.review.conftest import CHEAP

AXE = "axe_playwright_python"


def chromium():
    """Chromium's path where one is installed; None for Playwright's own."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


def axe_script():
    """The text of axe-core."""
    found = importlib.util.find_spec(AXE)
    return pathlib.Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")


def violations(page):
    """What axe-core finds wrong with a page, a line each."""
    page.evaluate(axe_script())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [f"{v['id']}: {[n['html'][:200] for n in v['nodes'][:3]]}" for v in found]


@contextlib.contextmanager
def served(review):
    """The address of a server in a thread of this process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = uvicorn.Config(
        create_app(review, CHEAP), host="127.0.0.1", port=port, log_level="warning"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
