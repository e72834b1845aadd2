"""The whole way through inspect_ai, against a server on loopback that counts its calls."""

import collections
import json
import os
import pathlib
import subprocess
import sys

import pytest

from dignified_jax import construct
from dignified_jax.construction import config, output, pipeline
from dignified_jax.construction.pipeline import ConstructionError
from dignified_jax.data import read_rows
from dignified_jax.endpoints.calls import EndpointError
from dignified_jax.typed_config import ConfigError
from tests.construction.conftest import ANCHORS
from tests.oracles import writer_server
from tests.oracles.writer_server import WriterServer

pytest.importorskip("inspect_ai")

ROOT = pathlib.Path(__file__).parents[2]
KEY = "secret-5391"


@pytest.fixture(scope="module")
def loopback():
    """The server, whose address and key the environment names, as inspect_ai wants them."""
    server = WriterServer()
    names = {"SCRIPTED_BASE_URL": server.url, "SCRIPTED_API_KEY": KEY}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def server(loopback):
    loopback.calls.clear()
    loopback.write = writer_server.obey
    return loopback


def fields(workdir, **values):
    return {
        "workdir": str(workdir),
        "rows": 2,
        "providers": ("openai-api/scripted/a", "openai-api/scripted/b"),
        "verifier": {"model": "openai-api/scripted/v"},
        "calls": {"retries": 2, "prices": tuple(f"openai-api/scripted/{m}=1/2" for m in "abv")},
        "anchors": ANCHORS,
        "test": ("embedded:personaknob_mini/test.jsonl",),
    } | values


def run(workdir, **values):
    said = []
    found = pipeline.run(config.parse(fields(workdir, **values)), said.append)
    return found, "\n".join(said)


def test_rows_end_to_end_and_again_and_more(server, tmp_path, recwarn):
    file, said = run(tmp_path)
    assert file == tmp_path / "rows.jsonl"
    rows = read_rows(file)
    assert len(rows) == 2
    assert read_rows(tmp_path / "rows.parquet") == rows
    assert not [each for each in recwarn if "columns not used" in str(each.message)]
    texts = [prompt for _, prompt in server.prompts()]
    assert len(set(texts)) == len(texts)
    assert "2 rows accepted, 0 set aside, 0 pending" in said
    report = json.loads((tmp_path / "report.json").read_text())
    (usage,) = [table for table in report["tables"] if table["name"] == "usage"]
    assert sum(usage["columns"]["calls"]) == len(texts)
    # The server says one token in and one out.
    assert sum(usage["columns"]["cost"]) == pytest.approx(len(texts) * 3e-6)
    record = json.loads(file.read_text().splitlines()[0])
    log = record["construction"]["parts"]["golden"]["log"]
    assert (tmp_path / "calls" / "golden" / log).is_file()
    assert KEY not in file.read_text() + (tmp_path / "report.json").read_text()

    before = file.read_text()
    assert run(tmp_path)[0].read_text() == before
    assert len(server.calls) == len(texts)  # nothing again
    assert run(tmp_path, rows=3)[0].read_text().startswith(before)
    fresh = server.prompts()[len(texts) :]
    kinds = collections.Counter(writer_server.kind(prompt) for _, prompt in fresh)
    assert (kinds["scenario"], kinds["golden"]) == (1, 1)
    assert len(read_rows(file)) == 3


def test_a_provider_that_is_down_is_asked_again_later(server, tmp_path):
    server.write = lambda prompt, model, number: (
        (400, {}, "refused") if model == "v" else writer_server.obey(prompt, model, number)
    )
    with pytest.raises(ConstructionError, match=r"1 rows wait .* first: verifier: the call failed"):
        run(tmp_path, rows=1)
    asked = collections.Counter(model for model, _ in server.prompts())
    assert not (tmp_path / "rows.jsonl").exists()
    server.write = writer_server.obey
    run(tmp_path, rows=1)
    again = collections.Counter(model for model, _ in server.prompts())
    assert sum(again[m] for m in "ab") - sum(asked[m] for m in "ab") == 1 + len(
        read_rows(tmp_path / "rows.jsonl")[0].mask
    )  # golden and negatives: the scenario was paid for


KILLED = """
import sys
from dignified_jax.construction import config, pipeline
import json
pipeline.run(config.parse(json.loads(sys.argv[1])), print)
"""


def test_killed_while_it_checks_it_pays_for_nothing_twice(server, tmp_path):
    """A process of its own dies with SIGKILL at a call in the midst of a batch."""
    values = json.loads(json.dumps(fields(tmp_path, rows=1)))
    values["calls"]["connections"] = 1
    process = None

    def deadly(prompt, model, number):
        if number == 9:
            process.kill()
        return writer_server.obey(prompt, model, number)

    server.write = deadly
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, json.dumps(values)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert process.wait(timeout=120) == -9
    assert len(server.calls) == 9
    server.write = writer_server.obey
    pipeline.run(config.parse(values), lambda line: None)
    texts = collections.Counter(prompt for _, prompt in server.prompts())
    # The answer to the ninth never arrived; a second one may have been on its way.
    assert sum(texts.values()) - len(texts) <= 2
    assert len(read_rows(tmp_path / "rows.jsonl")) == 1


def test_rows_that_are_extended_stay_first_and_as_they_are(server, tmp_path):
    known = tmp_path / "known.jsonl"
    first = {"prompt": "Is 9 prime?", "golden": "No: 3 x 3.", "mask": ["T"], "reject_T": "Yes."}
    known.write_text(json.dumps(first | {"review": {"by": "me"}}) + "\n")
    file, _ = run(tmp_path / "run", rows=1, extend=str(known))
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(records) == 2
    assert records[0] == first | {
        "review": {"by": "me"},
        "reject_A": "",
        "reject_E": "",
        "reject_C": "",
    }
    assert read_rows(tmp_path / "run" / "rows.parquet") == read_rows(file)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"providers": ()}, "providers must name at least one model"),
        ({"verifier": {}}, "verifier.model must name a model"),
        ({"length": (200, 80)}, "length must be two numbers"),
        ({"calls": {"prices": ("x=1",)}}, "calls.prices: expected MODEL=INPUT/OUTPUT"),
        ({"anchors": ("A=embedded:personaknob_mini/train.jsonl",)}, "dimension T has no example"),
        ({"anchors": ("X=f.jsonl",)}, "anchors: expected DIMENSION=KIND:FILE"),
        ({"mix": ("5:1",)}, "mix: expected 1 to 4 active dimensions"),
        ({"prompts": "nowhere"}, "nowhere"),
        ({"verifier": {"model": "openai-api/nokey/v"}}, "openai-api/nokey/v: .*NOKEY_API_KEY"),
        ({"providers": ("nonsense/x",)}, "nonsense/x: Model API nonsense"),
    ],
)
def test_wrong_configurations_are_told_before_anything_is_asked(tmp_path, values, message):
    with pytest.raises((ConfigError, EndpointError, OSError), match=message):
        run(tmp_path, **values)


def test_the_command_shows_its_fields_and_its_configuration(capsys):
    assert construct.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "verifier.stop_share" in text
    assert "audit.people" in text
    assert construct.main(["--config=construct:paper", "--print_config"]) == 0
    assert "rows: 1700" in capsys.readouterr().out


def test_a_text_cell_of_provenance_stays_one(tmp_path):
    """Parquet holds it as JSON text; extended from there it is not quoted once more."""
    row = {"prompt": "p", "golden": "g", "mask": ["A"], "reject_A": "r"}
    files = output.write_rows(tmp_path, [row | {"construction": '{"row": 1}'}, row])
    import pyarrow.parquet

    column = pyarrow.parquet.read_table(files[1])["construction"].to_pylist()
    assert column == ['{"row": 1}', None]
