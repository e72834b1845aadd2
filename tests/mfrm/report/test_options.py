"""Options that name columns of the file that the ratings are from."""

import json

import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.report import options
from dignified_jax.mfrm.report.judge_tables import (
    agreement_table,
    effects_table,
    unexpected_table,
)
from dignified_jax.mfrm.report.names import drawn_names
from dignified_jax.mfrm.report.scale_tables import residual_table

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


def test_what_is_given_twice_is_refused():
    """The second of two was taken, in silence."""
    with pytest.raises(ValueError, match="--precision: theta is given twice"):
        options.precision(["theta=1", "judge=2", "theta=2"])
    assert options.precision(["theta=3", "judge=2"]).theta == 3
    places = ([0, 0, 0, 0], [0] * 4, [0, 1, 2, 3], [0] * 4, [0, 1, 0, 1], [1] * 4)
    labels = {"model": "m", "question": "q", "judge": "abcd", "rubric": (None,)}
    ratings = mfrm.SparseRatings(*places, labels)
    with pytest.raises(ValueError, match="--judge-group: 'strict' is given twice"):
        options.judge_groups([["strict", "a", "b"], ["strict", "c", "d"]], ratings)
    found = options.judge_groups([["strict", "a", "b"], ["mild", "c", "d"]], ratings)
    assert found == {"strict": [0, 1], "mild": [2, 3]}


def test_a_group_called_all_is_beside_the_figures_of_all():
    """It took their place."""
    names = ("exact", "expected", "rasch_kappa", "cohen_kappa", "fleiss_kappa", "alpha_nominal",
             "alpha_interval", "icc_2k")  # fmt: skip
    overall, group = ({name: (value, 0.0, 1.0) for name in names} for value in (0.25, 0.75))
    nothing = np.zeros((2, 2))
    found = mfrm.Agreement(*[nothing] * 5, overall, {"all": group, "few": group}, 0.95)
    columns = agreement_table(found).columns
    by_judges = dict(zip(columns["judges"], columns["value"], strict=True))
    assert by_judges == {"all": 0.25, "all (group)": 0.75, "few": 0.75}
    assert len(columns["value"]) == 3 * len(names)


def test_degrees_of_freedom_are_not_negative():
    """A handful of ratings with more parameters than there are of them."""
    moments = {"score": (0.5, 0.5, 0.6)}
    found = mfrm.ResidualSummary(4, moments, 1.0, 2.0, 7, 3, 0.5, 0.5)
    assert "degrees of freedom 0 to 0 (7 parameters" in residual_table(found).notes[0]
    more = mfrm.ResidualSummary(40, moments, 1.0, 2.0, 7, 3, 0.5, 0.5)
    assert "degrees of freedom 30 to 33 (7 parameters" in residual_table(more).notes[0]


def test_a_facet_without_a_name_is_called_alike_in_all_tables(plan):
    """Some said None, and their files nothing."""
    successes, trials = (array[:, :, :1] for array in plan)
    fit = mfrm.fit(successes, trials, method="ridge", allow_disconnected=True)
    labels = {"model": "abcd", "question": range(8), "judge": (None,), "rubric": range(2)}
    unexpected = mfrm.unexpected_responses(fit, successes, trials, least=0.0)
    # Of all that are rated, and of nothing else.
    assert unexpected.total == unexpected.rated == (trials > 0).sum()
    effects = mfrm.judge_effects(fit, successes, trials)
    made = unexpected_table(unexpected, labels), effects_table(effects, labels)
    assert [set(table.columns["judge"]) for table in made] == [{"(all)"}] * 2
    assert drawn_names(labels["judge"], "judge") == ["(all)"]
