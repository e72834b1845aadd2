"""Options that name columns of the file that the ratings are from."""

import json

import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.report import options

KINDS = {1.0: "human", 2.0: "human", 3.0: None, 4.0: "llm"}


def test_kinds_of_judges_are_known_by_the_labels_of_the_ratings(tmp_path):
    """Other software has whole numbers as floats, and null where nothing stands."""
    rows = [
        {"model": m, "question": q, "judge": judge, "rubric": "r", "score": (q + m) % 2, "kind": k}
        for m in (1, 2)
        for q in range(3)
        for judge, k in KINDS.items()
    ]
    left_out = {"model": 1, "question": 1, "judge": None, "rubric": "r", "score": 1}
    rows += [left_out | {"kind": "human"}, left_out | {"kind": "llm"}]
    file = tmp_path / "ratings.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.warns(UserWarning, match="judge missing"):
        ratings = mfrm.from_long(file, missing=())
    found = options.judge_types(str(file), "judge", "kind", ratings)
    assert found == {"human": [0, 1], "(no kind)": [2], "llm": [3]}
