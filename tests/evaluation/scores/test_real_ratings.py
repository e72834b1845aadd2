"""HANNA's ratings of stories by five models, unchanged, against R's glmmTMB; report and all."""

import csv
import os
import pathlib

import pytest

from dignified_jax.evaluation import chain, config

pytestmark = [pytest.mark.slow, pytest.mark.wiring]

pytest.importorskip("plotly")

# They lie beside the repository, or where the variable says; they are not part of it.
_BESIDE = pathlib.Path(__file__).parents[3].parent / "shared" / "data"
RATINGS = pathlib.Path(os.environ.get("DIGNIFIED_TEST_DATA", _BESIDE)) / "ratings"


def read(file):
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_scores_and_severities_are_those_of_glmm_tmb(tmp_path):
    source = RATINGS / "hanna_llm.csv.gz"
    if not source.is_file():
        pytest.skip(f"the published ratings are not at hand: no {source}")
    values = {"workdir": str(tmp_path / "run"), "ratings": str(source)}
    page = chain.run(config.parse(values), print)
    rows = read(RATINGS / "reference" / "hanna_llm_laplace_glmmTMB.csv")
    theirs = {(row["facet"], row["level"]): float(row["est"]) for row in rows}
    severities = read(tmp_path / "run" / "scores" / "severities.csv")
    assert len(severities) == 5
    for row in severities:
        assert float(row["measure"]) == pytest.approx(theirs["judge", row["judge"]], abs=2e-3)
    scores = read(tmp_path / "run" / "scores" / "dimensions.csv")
    assert len(scores) == 11
    for row in scores:
        assert float(row["score"]) == pytest.approx(theirs["model", row["model"]], abs=2e-3)
        assert 0.05 < float(row["score se"]) < 0.3
    assert "Human" in page.read_text(encoding="utf-8")
