"""Exports: read back by the package, with who did what and when."""

import json

import pytest

from dignified_jax import data
from dignified_jax.review import accounts, assignment, editing, exporting, importing
from tests.review.conftest import make_review
from tests.review.test_assignment import judge

pytestmark = pytest.mark.wiring
DIMENSIONS = ("A", "T", "E", "C")


@pytest.fixture
def judged(review):
    """Rows 1 and 2 accepted, of these the dimension E rejected; golden of row 1 edited."""
    assignment.deal(review)
    with review.writing() as session:
        editing.edit(session, 1, "golden", "Golden, edited.", 1, 2)
        editing.edit(session, 1, "golden", "Golden, too late.", 1, 3)
    for pair_id in (1, 2, 3):
        for who in (2, 3):
            judge(review, who, pair_id, "reject" if pair_id == 3 else "accept")
    judge(review, 2, 4)
    return review


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_accepted_pairs_are_read_back(judged, tmp_path, suffix):
    file = tmp_path / f"reviewed.{suffix}"
    with judged.reading() as session:
        done = exporting.export(session, DIMENSIONS, file)
    assert done == exporting.Exported(2, 2, {"rejected": 1, "open": 4})
    first, second = data.read_rows(file)
    assert (first.prompt, first.golden) == ("Question 0?", "Golden, edited.")
    assert first.rejects == {"A": "Reject 0 of A."} and first.seed_scene == "Scene 0."
    assert second.mask == ("A",) and [m.role for m in second.prompt] == [
        *("system", "user", "assistant", "user")
    ]


def test_provenance_tells_who_when_and_what_was_before(judged, tmp_path):
    file = tmp_path / "reviewed.jsonl"
    with judged.reading() as session:
        exporting.export(session, DIMENSIONS, file)
    first, second = [json.loads(line)["review"] for line in file.read_text().splitlines()]
    assert first["source"] == {"file": "rows.jsonl", "row": 1}
    edits = [(e["by"], e["version"], e["of_version"], e["text"]) for e in first["edits"]]
    assert edits == [
        ("import", 1, 0, "Golden 0."),
        ("R2", 2, 1, "Golden, edited."),
        ("R3", None, 1, "Golden, too late."),
    ]
    judgments = first["dimensions"]["A"]["judgments"]
    assert [(j["by"], j["verdict"], j["better"]) for j in judgments] == [
        ("R2", "accept", "golden"),
        ("R3", "accept", "golden"),
    ]
    assert judgments[0]["seen"] == {"prompt[0]": 1, "golden": 2, "reject_A": 1}
    assert all(j["at"].endswith("Z") and j["current"] for j in judgments)
    assert {d: v["state"] for d, v in second["dimensions"].items()} == {
        "A": "accepted",
        "E": "rejected",
    }
    assert "grace" not in file.read_text()  # pseudonyms alone


def test_nothing_is_written_in_vain(review, tmp_path):
    with review.reading() as session:
        with pytest.raises(ValueError, match="no pair is accepted yet"):
            exporting.export(session, DIMENSIONS, tmp_path / "none.jsonl")
        with pytest.raises(ValueError, match=r"expected a file \.jsonl or \.parquet"):
            exporting.export(session, DIMENSIONS, tmp_path / "none.csv")
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_how_a_row_was_made_stays_with_it(tmp_path, suffix):
    row = {"prompt": "p", "golden": "g", "mask": ["A"], "reject_A": "r"}
    made = {"model": "m", "parts": [1, "ü"]}
    file = tmp_path / "rows.jsonl"
    file.write_text(
        "".join(json.dumps(r) + "\n" for r in (row | {"construction": made}, row | {"golden": "h"}))
    )
    for turn in ("first", "second"):
        review = make_review(tmp_path / f"{turn}.db", [])
        importing.add(review, *importing.read([str(file)], DIMENSIONS))
        with review.writing() as session:
            accounts.add(session, "r", "reviewer")
        assignment.deal(review)
        for pair_id in (1, 2):
            judge(review, 1, pair_id)
        file = tmp_path / f"{turn}.{suffix}"
        with review.reading() as session:
            exporting.export(session, DIMENSIONS, file)
            found = list(exporting.records(session, DIMENSIONS))
        review.close()
        assert [len(data.read_rows(file)), found[0]["construction"]] == [2, made]
        assert "construction" not in found[1]
        earlier = found[0]["review"]["earlier"]
        assert earlier is None if turn == "first" else earlier["dimensions"]["A"]["judgments"]
