"""The results of a comparison for other programs: CSV and JSON, in full precision."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from dignified_jax.comparison.plan import Comparison
from dignified_jax.comparison.results import COMPARED, Results, measures
from dignified_jax.comparison.statistics import CONFIDENCE, Interval, Paired


def summary_csv(results: Results) -> str:
    """A line a method: mean and half interval of every measure, and of the differences."""
    rows = []
    for name, means in results.means.items():
        row: dict[str, Any] = {"method": name, "seeds": len(results.seeds)}
        for measure, interval in means.items():
            row |= {measure: interval.mean, f"{measure}_half": interval.half}
        for measure in COMPARED:
            none = Paired(math.nan, math.nan, 0, math.nan)
            paired = results.paired.get(name, {}).get(measure, none)
            key = f"{results.against}_minus_this/{measure}"
            row |= {key: paired.mean, f"{key}_half": paired.half, f"{key}_p": paired.p}
        rows.append(row)
    return _csv(rows)


def runs_csv(results: Results) -> str:
    """A line a run."""
    return _csv(
        [
            {
                "method": r.name,
                "seed": r.seed,
                "worst": r.worst,
                **measures(r.score, results.groups),
            }
            for r in results.records
        ]
    )


def as_json(comparison: Comparison, results: Results) -> dict[str, Any]:
    """Everything; null for what one seed does not tell."""

    def plain(interval: Interval) -> dict[str, Any]:
        found = vars(interval).items()
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in found}

    def section(table: dict[str, dict[str, Any]]) -> dict[str, Any]:
        return {name: {m: plain(v) for m, v in row.items()} for name, row in table.items()}

    content = {
        "against": results.against,
        "confidence": CONFIDENCE,
        "seeds": results.seeds,
        "beta": comparison.beta,
        "pairs": results.pairs,
        "longer": results.longer,
        "means": section(results.means),
        "against_minus_method": section(results.paired),
        "worst": results.worst,
        "groups": results.groups,
        "runs": [{"method": r.name, "seed": r.seed, **r.score} for r in results.records],
        "base": comparison.base,
        "entries": {name: comparison.entries[name] for name in comparison.methods},
    }
    return json.loads(json.dumps(content))


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    """Full precision; nothing for NaN."""
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        blank = {k: "" if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        writer.writerow(blank)
    return file.getvalue()
