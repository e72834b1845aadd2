"""What is said of a step whose numbers are not finite."""

import pathlib
import types

import numpy as np
import pytest

from dignified_jax.training import diagnosis

PROMPTS = ("first", "second", "third", "fourth " * 20)
STREAM = types.SimpleNamespace(indices=lambda step: {6: np.array([3, 0, 2])}[step])
PREPARED = types.SimpleNamespace(
    workdir=pathlib.Path("run"),
    data=types.SimpleNamespace(streams={"train": STREAM}, train_prompts=PROMPTS),
)
FLAT = {"loss": float("nan"), "loss/A": float("inf"), "grad_norm": 2.0}


@pytest.mark.parametrize(
    ("broken", "named"), [([(0, 4)], ["fourth"]), ([(1, 0), (2, 2)], ["first", "third"])]
)
def test_only_the_prompts_whose_log_probs_are_broken_are_listed(broken, named):
    """The batch holds examples 3, 0 and 2, and a place that no example takes."""
    log_probs = np.zeros((4, 5))
    for place in broken:
        log_probs[place] = np.nan
    text = diagnosis.diagnose(PREPARED, 7, FLAT, log_probs, 6)
    first, second, *listed = text.splitlines()
    assert first == (
        "step 7: the loss or its gradient is not finite (loss=nan, loss/A=inf); "
        "checkpoint 6 in run/checkpoints is whole."
    )
    assert second.startswith("The policy's log-probs are not finite for these prompts")
    assert [line.strip(" '").split()[0] for line in listed] == named
    assert max(map(len, listed)) <= 84


def test_with_finite_log_probs_the_whole_batch_is_listed():
    text = diagnosis.diagnose(PREPARED, 7, FLAT, np.zeros((4, 5)), None)
    assert "no checkpoint yet" in text and "All log-probs are finite" in text
    assert [line.strip(" '").split()[0] for line in text.splitlines()[2:]] == [
        "fourth",
        "first",
        "third",
    ]
