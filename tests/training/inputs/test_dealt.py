"""Rows that several processes tokenise are those of one process, to the bit."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from dignified_jax import data
from dignified_jax.data.limits import Limits
from dignified_jax.data.schema import RowProblem
from dignified_jax.data.schema.conversation import Message
from dignified_jax.data.template import load_template
from dignified_jax.data.tokenize import Encoder, chunks_of
from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.training.inputs import dealt
from tests.oracles import job, tiny_run
from tests.oracles.command import REPOSITORY, finish


def test_what_goes_between_processes_comes_back_as_it_was(root):
    """Turns, pairs, absent rejects, bad rows and a lone surrogate, through JSON."""
    turns = tuple(Message(*turn) for turn in (("system", "Be."), ("user", "Hi")))
    common = {"dimensions": ("A", "T"), "file": "a.jsonl"}
    rows = [
        data.PreferenceRow("One?", "Yes.", {"A": "No.", "T": "So."}, row=1, **common),
        data.PreferenceRow(turns, "Yes.", {"T": "So."}, row=2, pairs={"T": 7}, **common),
        data.PreferenceRow("Three \ud800?", "Yes.", {"A": "No."}, row=4, **common),
        data.PreferenceRow("Four? " * 40, "Yes.", {"A": "No."}, row=5, **common),
    ]
    (chunk,) = chunks_of(rows)
    start, read = dealt._read_chunk(json.loads(json.dumps(dealt.describe_chunk(chunk))), ("A", "T"))
    assert start == 0 and read == rows
    assert [(row.file, row.row, row.pairs) for row in read] == [
        (row.file, row.row, row.pairs) for row in rows
    ]
    template = load_template(load_tokenizer(root / "model"))
    encoder = Encoder(template, ("golden", "A", "T"), Limits(None, 60, "drop"))
    part = encoder((5, [rows[0], rows[1], rows[3]]))
    problem = RowProblem("a.jsonl", 4, "prompt", "a text", "none")
    part = dataclasses.replace(part, rejected={8: [problem]})
    back = dealt.read_part(json.loads(json.dumps(dealt.describe_part(part))))
    assert part.dropped == (7,) and len(part.examples) == 2
    assert (back.rejected, back.dropped, back.lossy) == (part.rejected, part.dropped, part.lossy)
    for name in ("ids", "lengths", "indices"):
        np.testing.assert_array_equal(getattr(back.examples, name), getattr(part.examples, name))
        assert getattr(back.examples, name).dtype == getattr(part.examples, name).dtype


def prepared(root, out, cache, count):
    """What each of some processes says."""
    port = job.free_port()
    fields = [
        {"coordinator": f"127.0.0.1:{port}", "processes": count, "process": index, "timeout": 20}
        for index in range(count)
    ]
    worker = str(REPOSITORY / "tests" / "oracles" / "dealt_worker.py")
    processes = [
        subprocess.Popen(
            [sys.executable, worker, *map(str, (root, cache, out)), json.dumps(of_one)],
            cwd=REPOSITORY,
            env={
                **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                **{"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1"},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for of_one in (fields if count > 1 else [{}])
    ]
    for status, output in map(finish, processes):
        assert status == 0, output
    return [json.loads((out / f"{index}.json").read_text()) for index in range(count)]


@pytest.mark.slow
def test_several_processes_make_what_one_makes_and_each_does_its_share(root, tmp_path):
    (alone,) = prepared(root, tmp_path / "1", tmp_path / "cache1", 1)
    everything = alone[0]["rows"]
    assert everything == 15 and alone[3]["rows"] == 0
    for count in (2, 3):
        several = prepared(root, tmp_path / str(count), tmp_path / f"cache{count}", count)
        for start, one in enumerate(alone):
            of_all = [each[start] for each in several]
            for name in ("identity", "notes", "prompts"):
                assert all(each[name] == one[name] for each in of_all), (start, name)
            for split, batches in one["batches"].items():
                for step, (tokens, indices) in enumerate(batches):
                    mine = [each["batches"][split][step] for each in of_all]
                    assert all(each[1] == indices for each in mine)
                    width = 6 // count  # rows of a group of 6 that a process has
                    rows = [
                        row
                        for at in range(0, len(tokens) // count, width)
                        for each in mine
                        for row in each[0][at : at + width]
                    ]
                    assert rows == tokens
            shares = [each["rows"] for each in of_all]
            assert sum(shares) == one["rows"]
            # Three splits of 9, 2 and 4 rows: at most a row more a split.
            assert max(shares) - min(shares) <= (3 if one["rows"] else 0), shares
            assert all(each["mapped"] for each in of_all)
            if start in (0, 2):
                assert of_all[0]["bytes"] <= one["bytes"] / count * 1.5


@pytest.mark.slow
def test_a_bad_row_that_another_process_finds_is_named_on_all(tmp_path):
    tiny_run.write(tmp_path)
    template = tmp_path / "model" / "chat_template.jinja"
    template.write_text(
        "{% if 'spelled' in messages[0].content %}{{ 1 // 0 }}{% endif %}" + template.read_text()
    )
    rows = tiny_run.records()
    rows[9] |= {"prompt": "A spelled one"}  # of the second half
    tiny_run.write_rows(tmp_path / "train.jsonl", rows[: tiny_run.TRAIN_ROWS])
    flags = (
        "--config=lagdpo",
        f"--config.workdir={tmp_path / 'run'}",
        f"--config.model.path={tmp_path / 'model'}",
        f"--config.data.train={tmp_path / 'train.jsonl'}",
        f"--config.data.test={tmp_path / 'test.jsonl'}",
        *("--config.data.validation_fraction=0", "--config.batch_size=3"),
        "--config.mesh.data=2",
    )
    for status, output in job.end(job.start(2, "train", *flags, devices=1)):
        assert status == 1
        assert "1 problem in 1 row:" in output and "train.jsonl:10: prompt: expected " in output
