"""The command line, from rows to an export, and what it refuses."""

import io
import json
import sys
import types

import pytest

from dignified_jax import data
from dignified_jax.review import accounts, commands, database, serving
from dignified_jax.review.__main__ import main
from tests.review.conftest import CHEAP
from tests.review.test_assignment import judge

pytestmark = pytest.mark.wiring
ROWS = [
    {"prompt": f"p{at}", "golden": f"g{at}", "mask": ["Wit"], "reject_Wit": f"r{at}"}
    for at in range(3)
]


def call(capsys, db, *words):
    """(exit status, what was printed, what was said) of a command."""
    status = main([str(db), *map(str, words)])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_from_rows_to_an_export(tmp_path, capsys):
    db, rows = tmp_path / "review.db", tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    asked = tmp_path / "asked.yaml"
    asked.write_text("items:\n  - {id: X, text: 'Has {dimension}.'}\n")
    made = call(capsys, db, "init", rows, "--dimensions", "Wit", "--overlap", 1, "--rubric", asked)
    assert made == (0, f"{db}: 3 rows with 3 pairs added\n", "")
    assert "3 rows were there already" in call(capsys, db, "import", rows)[1]
    status, out, _ = call(capsys, db, "assign")
    assert status == 1 and out == ""
    _, out, _ = call(capsys, db, "invite", "Grace", "--url", "https://review.example.org/")
    assert out.startswith(
        "grace (R1, reviewer), once, within 7 days:\nhttps://review.example.org/i"
    )
    assert call(capsys, db, "invite", "grace", "--role", "adjudicator")[1].startswith(
        "grace (R1, a"
    )
    assert call(capsys, db, "invite", "linus")[0] == 0
    assert call(capsys, db, "assign")[1] == "R2: 3 pairs\n"
    assert "nothing was judged yet" in call(capsys, db, "agreement")[2]
    opened = database.Database(db)
    for pair_id in (1, 2):
        judge(opened, 2, pair_id)
    assert opened.project.rubric.statements("Wit") == {"X": "Has Wit."}
    opened.close()
    status, out, _ = call(capsys, db, "export", tmp_path / "out.jsonl")
    assert out.endswith("2 rows with 2 accepted pairs\nleft out: 1 open pairs\n")
    assert len(data.read_rows(tmp_path / "out.jsonl", dimensions=["Wit"])) == 2
    assert "alpha" in call(capsys, db, "agreement")[1]
    table = json.loads(call(capsys, db, "agreement", "--json")[1])["agreement"]["columns"]
    assert (
        table["question"] == ["accepted", "better response", "X"] and table["alpha"] == [None] * 3
    )
    assert call(capsys, db, "backup", tmp_path / "copy.db")[0] == 0
    assert call(capsys, tmp_path / "copy.db", "user", "linus", "--end")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["backup", "x.db"], "no such review"),
        (["init", "none.jsonl"], "none.jsonl"),
        (["init", "embedded:personaknob_mini/test.jsonl", "--dimensions", "A,A"], "distinct"),
        (["init", "embedded:personaknob_mini/test.jsonl", "--overlap", "0"], "overlap"),
        (["init", "embedded:personaknob_mini/test.jsonl", "--rubric", "none.yaml"], "none.yaml"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_no_file(tmp_path, capsys, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    status, _, told = call(capsys, "review.db", *words)
    assert status == 1 and said in told and told.startswith("error: ")
    assert not (tmp_path / "review.db").exists()


def test_accounts_that_are_none_are_told(review, capsys):
    assert "no account 'nobody'" in call(capsys, review.path, "user", "nobody", "--end")[2]
    with pytest.raises(SystemExit):
        main([str(review.path), "user", "grace"])
    assert "--password --end is required" in capsys.readouterr().err.replace("\n", " ")


def test_a_missing_package_is_told(monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "dignified_jax.review.commands", None)
    with pytest.raises(ModuleNotFoundError):  # one of our own is no missing extra
        main(["review.db"])
    monkeypatch.delitem(sys.modules, "dignified_jax.review.commands")
    monkeypatch.setitem(sys.modules, "argon2", None)
    assert main(["review.db"]) == 1
    assert capsys.readouterr().err == (
        "error: the review needs argon2: pip install 'dignified_jax[review]'\n"
    )


@pytest.mark.parametrize(
    ("host", "url", "secure", "warned"),
    [
        ("127.0.0.1", None, False, False),
        ("::1", None, False, False),
        ("0.0.0.0", None, False, True),
        ("0.0.0.0", "https://review.example.org", True, False),
        ("127.0.0.1", "https://review.example.org", True, False),
    ],
)
def test_it_listens_at_home_unless_told_otherwise(
    review, capsys, monkeypatch, host, url, secure, warned
):
    started, made = {}, {}
    monkeypatch.setattr(serving.uvicorn, "run", lambda app, **options: started.update(options))
    monkeypatch.setattr(serving, "create_app", lambda _, **options: made.update(options))
    serving.serve(review, host, 8000, url)
    said = capsys.readouterr()
    assert ("unencrypted" in said.err) == warned
    assert made["secure"] == secure and started["host"] == host
    assert started["proxy_headers"] == (url is not None)
    assert {"127.0.0.1", "localhost"} <= set(made["hosts"])
    assert ("review.example.org" in made["hosts"]) == (url is not None)
    assert "to begin" in said.out  # until an administrator has a password
    with review.writing() as session:
        accounts.set_password(session, accounts.find(session, "ada"), "long enough", CHEAP)
    serving.serve(review, host, 8000, url)
    assert "to begin" not in capsys.readouterr().out


def test_without_a_command_it_serves_and_the_first_administrator_gets_a_link(
    tmp_path, capsys, monkeypatch
):
    db = tmp_path / "review.db"
    call(capsys, db, "init", "embedded:personaknob_mini/test.jsonl")
    monkeypatch.setattr(serving.uvicorn, "run", lambda app, **options: None)
    assert "to begin, once: http://127.0.0.1:8000/invite/" in call(capsys, db)[1]
    # The link is still good, and not known any more.
    assert call(capsys, db, "serve", "--port", "9000")[1] == f"{db}: http://127.0.0.1:9000\n"
    assert commands.PORT == 8000


def test_links_are_printed_whatever_the_terminal_and_made_for_days_that_are_some(
    review, capsys, monkeypatch
):
    for days, found in (("9999999", "1e+07"), ("0", "0"), ("nan", "nan")):
        status, out, err = call(capsys, review.path, "invite", "ada", "--days", days)
        assert (status, out) == (1, "") and err.endswith(f"found {found}\n")
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    assert main([str(review.path), "invite", "Zo\u00eb"]) == 0
    shown.seek(0)
    assert shown.readline().startswith("zo\\xeb (R") and "/invite/" in shown.read()


def test_no_password_is_told(review, capsys, monkeypatch):
    def end(*_):
        raise EOFError

    call(capsys, review.path, "invite", "ada")
    monkeypatch.setattr(commands.getpass, "getpass", end)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True))
    assert call(capsys, review.path, "user", "ada", "--password")[::2] == (
        *(1, "error: --password: none was given\n"),
    )
