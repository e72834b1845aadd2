"""Log-likelihoods from packed trees against one plain forward pass a continuation."""

import jax
import numpy as np
import pytest
from scipy.special import log_softmax

from dignified_jax.evaluation.utility import continuations
from dignified_jax.evaluation.utility.continuations import ContinuationScorer

pytestmark = pytest.mark.wiring

TOLERANCE = 1e-4
LONGEST = 60


@pytest.fixture(scope="module")
def scorer(tiny_judge):
    return ContinuationScorer(tiny_judge.module, tiny_judge.params, LONGEST)


@pytest.fixture(scope="module")
def separate(tiny_judge):
    """(log-probability, greedy) from the plain causal forward of context and continuation."""
    forward = jax.jit(lambda tokens: tiny_judge.module.apply({"params": tiny_judge.params}, tokens))

    def score(context, tokens):
        whole = (tuple(context) + tuple(tokens))[-(LONGEST + 1) :]
        padded = np.zeros((1, LONGEST), np.int32)
        padded[0, : len(whole) - 1] = whole[:-1]
        logits = np.asarray(forward(padded))[0, len(whole) - 1 - len(tokens) : len(whole) - 1]
        chosen = log_softmax(logits, axis=-1)[np.arange(len(tokens)), list(tokens)]
        return float(chosen.sum()), bool((logits.argmax(-1) == np.array(tokens)).all())

    return score


def drawn(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [tuple(rng.integers(3, 300, length).tolist()) for length in lengths]


def test_choices_of_contexts_equal_separate_forwards(scorer, separate):
    """One-token choices, longer ones, equal ones, ones that begin alike, and a cut context."""
    first, second, long = drawn((12, 5, 90))
    one, two, three = drawn((1, 1, 4), seed=1)
    given = [
        *((first, choice) for choice in (one, two, three, three, three[:2])),
        *((second, choice) for choice in (three, one)),
        *((long, choice) for choice in (one, three)),
        ((7,), three),
    ]
    found = scorer(given)
    for (context, tokens), (log_prob, greedy) in zip(given, found, strict=True):
        expected = separate(context, tokens)
        assert log_prob == pytest.approx(expected[0], abs=TOLERANCE)
        assert greedy == expected[1]
    assert found[2] == found[3]


def test_the_likeliest_tokens_are_known(scorer, tiny_judge):
    """Greedy tokens, chosen one by one, and the same with another last token."""
    (context,) = drawn((9,))
    tokens, apply = list(context), jax.jit(tiny_judge.module.apply)
    for _ in range(3):
        whole = np.array([tokens + [0] * (12 - len(tokens))])
        logits = np.asarray(apply({"params": tiny_judge.params}, whole))
        tokens.append(int(logits[0, len(tokens) - 1].argmax()))
    best = tokens[9:]
    (_, yes), (_, no) = scorer([(context, best), (context, (*best[:-1], best[-1] - 1))])
    assert yes and not no


def test_a_context_of_very_many_continuations_is_split(scorer, separate, monkeypatch):
    monkeypatch.setattr(continuations, "MOST_BRANCHES", 3)
    monkeypatch.setattr(continuations, "TREE_ROOM", 40)
    (context,) = drawn((4,))
    given = [(context, tokens) for tokens in drawn((3, 5, 20, 25, 1, 2, 2, 30), seed=2)]
    for (_, tokens), (log_prob, _) in zip(given, scorer(given), strict=True):
        assert log_prob == pytest.approx(separate(context, tokens)[0], abs=TOLERANCE)


def test_what_can_not_be_scored_is_named(scorer):
    for bad in [((), (1,)), ((1,), ()), ((1,), (1,) * (LONGEST + 1))]:
        with pytest.raises(ValueError, match=r"continuations\[1\]: expected a context and"):
            scorer([((1,), (2,)), bad])


def test_nothing_is_nothing(scorer):
    assert scorer([]) == []
