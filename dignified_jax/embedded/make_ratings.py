"""Makes ratings.csv: simulated judgments in which one judge favours a model of its own family.

python -m dignified_jax.embedded.make_ratings ratings.csv
"""

from __future__ import annotations

import csv
import pathlib
import sys

import numpy as np

MODELS = ("amber-large", "amber-small", "birch-large", "cedar-large")
JUDGES = ("amber-judge", "birch-judge", "dune-judge")
RUBRIC = ("admits-doubt", "corrects-user", "no-flattery")
QUESTIONS = tuple(f"q{number:02d}" for number in range(1, 31))

# Logits. The truth that a fit should come near to.
QUALITY = (1.2, 0.2, 0.9, 0.6)
SEVERITY = (-0.3, 0.7, -0.4)
DIFFICULTY = (-0.5, 0.6, -0.1)
SPREAD = {"question": 0.8, "theta": 0.8}
# (judge, model) -> logits by which the judge favours the model.
FAVOUR = {("amber-judge", "amber-small"): 2.0}
SEED = 11


def simulate() -> list[tuple[str, str, str, str, int]]:
    """(model, question, judge, rubric, score) of all 1,080 judgments."""
    rng = np.random.default_rng(SEED)
    shape = (len(MODELS), len(QUESTIONS), len(JUDGES), len(RUBRIC))
    theta = rng.normal(scale=SPREAD["theta"], size=shape[:2])
    question = rng.normal(scale=SPREAD["question"], size=shape[1])
    favour = np.array([[FAVOUR.get((judge, model), 0.0) for judge in JUDGES] for model in MODELS])
    logit = (np.array(QUALITY)[:, None] + theta - question)[:, :, None, None]
    logit = logit - np.array(SEVERITY)[:, None] - np.array(DIFFICULTY)
    logit = logit + favour[:, None, :, None]
    score = rng.random(shape) < 1.0 / (1.0 + np.exp(-logit))
    names = (MODELS, QUESTIONS, JUDGES, RUBRIC)
    return [
        (*(levels[i] for levels, i in zip(names, index, strict=True)), int(score[index]))
        for index in np.ndindex(*shape)
    ]


def main(arguments: list[str]) -> None:
    """Writes the file."""
    if len(arguments) != 1:
        sys.exit(__doc__)
    with pathlib.Path(arguments[0]).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("model", "question", "judge", "rubric", "score"))
        writer.writerows(simulate())


if __name__ == "__main__":
    main(sys.argv[1:])
