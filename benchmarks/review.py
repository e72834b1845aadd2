"""How fast a review answers 20 reviewers over 10,000 rows, on loopback.

    python -m benchmarks.review

Rows are those of `benchmarks.data_start`. The server is a process of its own; each reviewer is a
thread that reads a page, thinks for about `--think` seconds, and goes on: a list of its pairs, or
judging a pair, which brings the next one. One administrator looks through all pairs meanwhile.

Prints Markdown: milliseconds from a request to the last byte of the page that it leads to.
"""

from __future__ import annotations

import argparse
import collections
import os
import platform
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import httpx2

from benchmarks import data_start
from dignified_jax.review import accounts, assignment, database, importing, rubric, sessions
from dignified_jax.review.database import Database
from dignified_jax.review.tables import ADMIN, REVIEWER

NEXT, MINE, ALL = "judge, and get the next pair", "a list of one's pairs", "a list of all pairs"
_COOKIE = "review"


def build(directory: Path, rows: int, reviewers: int) -> tuple[Database, list[str], str]:
    """Returns a dealt review, the cookies of its reviewers and that of its administrator."""
    file = directory / "rows.jsonl"
    data_start.write(file, rows, seed=0)
    dimensions = ("A", "T", "E", "C")
    asked = rubric.read(rubric.DEFAULT_FILE, dimensions)
    made = database.create(directory / "review.db", dimensions, 2, asked)
    importing.add(made, *importing.read([str(file)], dimensions))
    with made.writing() as session:
        people = [accounts.add(session, f"r{n}", REVIEWER) for n in range(reviewers)]
        people.append(accounts.add(session, "admin", ADMIN))
        cookies = [sessions.begin(session, account, "") for account in people]
    assignment.deal(made)
    return made, cookies[:-1], cookies[-1]


def serve(path: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Returns a server process that answers, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dignified_jax.review", str(path), "serve"]
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    return process, f"http://127.0.0.1:{port}"


def load(
    address: str, cookies: list[str], admin: str, seconds: float, think: float
) -> dict[str, list[float]]:
    """Returns what was asked for -> milliseconds of each time."""
    taken: dict[str, list[float]] = collections.defaultdict(list)
    end = time.monotonic() + seconds

    def timed(name: str, ask: Callable[[], httpx2.Response]) -> str:
        start = time.perf_counter()
        text = ask().raise_for_status().text
        taken[name].append((time.perf_counter() - start) * 1e3)
        return text

    def review(number: int, cookie: str) -> None:
        source = random.Random(number)
        with _client(address, cookie) as client:
            time.sleep(source.random() * think)
            text = client.get("/next").text
            while time.monotonic() < end:
                time.sleep(source.uniform(0.5, 1.5) * think)
                if source.random() < 0.3:
                    page = source.randrange(1, 20)
                    timed(MINE, lambda page=page: client.get(f"/mine?page={page}"))
                    continue
                path = re.search(r'action="(/pairs/\d+/judgment)"', text)[1]
                fields = {
                    name: re.search(rf'name="{name}" value="([\w.]+)"', text)[1]
                    for name in ("form_token", "seen")
                }
                fields |= {"choice": source.choice("12"), "verdict": "accept", "tick": "S1"}
                text = timed(NEXT, lambda p=path, f=fields: client.post(p, data=f))

    def administer() -> None:
        source = random.Random(-1)
        with _client(address, admin) as client:
            while time.monotonic() < end:
                time.sleep(think)
                page = source.randrange(1, 400)
                timed(ALL, lambda page=page: client.get(f"/pairs?page={page}"))

    threads = [threading.Thread(target=review, args=each) for each in enumerate(cookies)]
    threads.append(threading.Thread(target=administer))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def _client(address: str, cookie: str) -> httpx2.Client:
    cookies = {_COOKIE: cookie}
    return httpx2.Client(base_url=address, cookies=cookies, follow_redirects=True, timeout=60)


def markdown(taken: dict[str, list[float]]) -> str:
    """Returns a table of medians and 95th percentiles, in milliseconds."""
    lines = ["| | times | median, ms | 95% below |", "|---|---|---|---|"]
    for name in (NEXT, MINE, ALL):
        values = sorted(taken[name])
        late = values[int(0.95 * len(values))]
        lines.append(f"| {name} | {len(values)} | {statistics.median(values):.0f} | {late:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000, metavar="N")
    parser.add_argument("--reviewers", type=int, default=20, metavar="N")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S")
    parser.add_argument("--think", type=float, default=2.0, metavar="S")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        start = time.perf_counter()
        made, cookies, admin = build(Path(directory), arguments.rows, arguments.reviewers)
        built = time.perf_counter() - start
        server, address = serve(made.path)
        try:
            taken = load(address, cookies, admin, arguments.seconds, arguments.think)
        finally:
            server.terminate()
            server.wait()
        size = made.path.stat().st_size / 2**20
        made.close()
    versions = ", ".join(f"{n} {metadata.version(n)}" for n in ("fastapi", "sqlmodel", "uvicorn"))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    print(f"{arguments.rows:,} rows, {size:.0f} MiB, made and dealt in {built:.1f} s")
    print(f"{arguments.reviewers} reviewers, each thinks for {arguments.think:g} s\n")
    print(markdown(taken))


if __name__ == "__main__":
    main()
