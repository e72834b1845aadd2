"""The notebooks run from top to bottom, and are stored as they ran, with small outputs."""

import pathlib
import re

import pytest

from tests.docs.blocks import ROOT

nbformat = pytest.importorskip("nbformat")
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
MOST_BYTES = 60_000


def outputs(notebook):
    """Output text of every cell of code."""
    return [
        "".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_stored_as_it_ran(file):
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
    assert file.stat().st_size < MOST_BYTES
    assert not re.search(r"/tmp/|/home/|/root/", file.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_runs(file, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XLA_FLAGS", "")
    stored = nbformat.read(file, as_version=4)
    fresh = nbformat.read(file, as_version=4)
    client = nbclient.NotebookClient(
        fresh, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    assert [bool(text) for text in outputs(fresh)] == [bool(text) for text in outputs(stored)]


def test_there_are_notebooks():
    assert {pathlib.Path(file).stem for file in NOTEBOOKS} == {
        "calibrate_ratings",
        "train_on_your_rows",
    }
