"""Runs the notebooks and stores them with their outputs: `python docs/notebooks/execute.py`."""

import os
import pathlib
import tempfile

import nbclient
import nbformat

HERE = pathlib.Path(__file__).parent


def execute(file: pathlib.Path) -> None:
    """Runs a notebook in an empty directory; what says when and where it ran is left out."""
    notebook = nbformat.read(file, as_version=4)
    with tempfile.TemporaryDirectory() as directory:
        nbclient.NotebookClient(
            notebook,
            timeout=1800,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": directory}},
        ).execute()
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, file)


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm misses ipywidgets
    for file in sorted(HERE.glob("*.ipynb")):
        execute(file)
        print(f"written: {file}")
