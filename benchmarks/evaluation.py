"""Times scores and report of ratings at the size of a study: models x questions x judges x items.

    python -m benchmarks.evaluation --models 10 --questions 1951 --judges 3

Ratings are simulated on the items of the default rubric. Prints wall and CPU seconds of every part,
compilation included, as a command has it.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time

import numpy as np
import pyarrow as pa

from dignified_jax.evaluation import chain, config, rubrics
from dignified_jax.evaluation.judging import judgments


def simulate(models: int, questions: int, judges: int, seed: int = 0) -> pa.Table:
    """A table of judgments under the many-facet Rasch model, complete."""
    rng, rubric = np.random.default_rng(seed), rubrics.read()
    names = list(rubric.dimensions)
    place = np.array([names.index(item.dimension) for item in rubric.items])
    quality = rng.normal(size=(len(names), models, 1)) + rng.normal(
        size=(len(names), models, questions)
    )
    quality = quality - 0.7 * rng.normal(size=(len(names), 1, questions))
    severity = np.linspace(-0.5, 0.5, judges)
    difficulty = np.tile(np.linspace(-1, 1, 3), len(rubric.items))[: len(rubric.items)]
    logit = quality[place].transpose(1, 2, 0)[:, :, None, :] - severity[:, None] - difficulty
    score = (rng.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    labels = (
        [f"model {m}" for m in range(models)],
        [f"question {q:05d}" for q in range(questions)],
        [f"judge {j}" for j in range(judges)],
        [item.name for item in rubric.items],
    )
    columns = dict.fromkeys(judgments.SCHEMA.names, [None] * score.size)
    index = np.indices(score.shape).reshape(4, -1)
    for name, values, at in zip(judgments.KEY, labels, index, strict=True):
        columns[name] = np.array(values)[at]
    columns["dimension"] = np.array([item.dimension for item in rubric.items])[index[3]]
    columns["score"] = score.ravel()
    arrays = {f.name: pa.array(columns[f.name], type=f.type) for f in judgments.SCHEMA}
    return pa.table(arrays, schema=judgments.SCHEMA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--questions", type=int, default=1951)
    parser.add_argument("--judges", type=int, default=3)
    parser.add_argument("--replicates", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        table = simulate(options.models, options.questions, options.judges)
        judgments.write(directory / "judgments.parquet", table)
        parsed = config.parse(
            {
                "ratings": str(directory / "judgments.parquet"),
                "workdir": str(directory / "run"),
                "scoring": {"replicates": options.replicates},
            }
        )
        wall, cpu = time.perf_counter(), time.process_time()
        page = chain.run(parsed, print)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        size = page.stat().st_size / 2**20
    print(f"{table.num_rows:,} judgments: {wall:.1f} s, {cpu:.1f} CPU s; page {size:.1f} MiB")


if __name__ == "__main__":
    main()
