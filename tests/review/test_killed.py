"""A server that is killed while 200 judgments come in: each one that it acknowledged is there."""

import contextlib
import os
import pathlib
import queue
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import httpx2
import pytest
from sqlmodel import select

from dignified_jax.review import accounts, database, sessions
from dignified_jax.review.tables import Judgment
from tests.review.conftest import make_review, make_rows

pytestmark = [pytest.mark.slow, pytest.mark.wiring]
WRITES, WRITERS = 200, 4


def start(path, port):
    """A server that answers."""
    command = [
        sys.executable,
        "-m",
        "dignified_jax.review",
        str(path),
        "serve",
        "--port",
        str(port),
    ]
    root = pathlib.Path(__file__).parents[2]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}
    )
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return process
        time.sleep(0.1)
    raise AssertionError("the server does not start")


def judge(client, pair_id, note):
    """Judges a pair as a browser does; returns once the server has acknowledged it."""
    text = client.get(f"/pairs/{pair_id}").raise_for_status().text
    fields = {
        name: re.search(rf'name="{name}" value="([\w.]+)"', text)[1]
        for name in ("form_token", "seen")
    }
    fields |= {"choice": "1", "verdict": "accept", "note": note}
    answer = client.post(f"/pairs/{pair_id}/judgment", data=fields)
    assert answer.status_code == 303, answer.text


@pytest.mark.parametrize("seed", [0, 1])
def test_every_acknowledged_judgment_is_there(tmp_path, seed):
    source = random.Random(seed)
    opened = make_review(tmp_path / "review.db", make_rows(40))
    tokens = []
    with opened.writing() as session:
        for number in range(WRITERS):
            account = accounts.add(session, f"reviewer{number}", "reviewer")
            tokens.append(sessions.begin(session, account, ""))
    opened.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    left = queue.SimpleQueue()
    for number in range(WRITES):
        left.put(number)
    acknowledged, tried = [], []
    kill_at = source.randrange(WRITES // 4, 3 * WRITES // 4)

    def write(token):
        with httpx2.Client(
            base_url=f"http://127.0.0.1:{port}", cookies={"review": token}, timeout=30
        ) as client:
            while True:
                try:
                    number = left.get_nowait()
                except queue.Empty:
                    return
                tried.append(number)
                try:
                    judge(client, 1 + number % 60, f"write {number}")
                except httpx2.TransportError:
                    return  # the server is gone
                acknowledged.append(number)

    def run():
        threads = [threading.Thread(target=write, args=(token,)) for token in tokens]
        for thread in threads:
            thread.start()
        return threads

    server = start(opened.path, port)
    threads = run()
    while len(acknowledged) < kill_at:
        time.sleep(0.001)
    time.sleep(source.random() * 0.02)
    server.send_signal(signal.SIGKILL)
    server.wait()
    for thread in threads:
        thread.join()
    assert kill_at <= len(acknowledged) < WRITES
    with sqlite3.connect(opened.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    server = start(opened.path, port)  # and it goes on
    try:
        for thread in run():
            thread.join()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
    again = database.Database(opened.path)
    with again.reading() as session:
        notes = session.exec(select(Judgment.note)).all()
    again.close()
    saved = {int(note.split()[1]) for note in notes}
    assert saved >= set(acknowledged) and len(acknowledged) >= WRITES - WRITERS
    assert saved <= set(tried) and len(notes) == len(saved)  # nothing twice
