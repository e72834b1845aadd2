"""A known direction is found at its layer; added it acts as the marker does, capped it does not."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.analysis import states, vectors
from dignified_jax.generation.queue import Queue, TokenRequest
from dignified_jax.generation.settings import Settings
from dignified_jax.generation.steering import Steering
from dignified_jax.models.residual import Cap, make_edits
from tests.analysis import planted

pytestmark = pytest.mark.wiring

POLES = (True, False, False)  # positive, negative, neutral


@pytest.fixture(scope="module")
def pair_states(planted_model):
    """(pair, pole, layer, width), read in packed rows."""
    model, params, _ = planted_model
    texts = [planted.prompts(marked) for marked in POLES]
    flat = [text for each in texts for text in each]
    found = states.collect(model, params, planted.last_tokens(flat))[:, 0]
    return found.reshape(3, -1, *found.shape[1:]).swapaxes(0, 1)


def test_a_planted_direction_is_found_at_its_layer(planted_model, pair_states):
    _, _, direction = planted_model
    vector, evidence = vectors.extract("D", pair_states, np.arange(len(pair_states)))
    assert vector.layer == planted.PLANTED_AT
    for layer in (1, 2):
        assert vectors.cosine(vector.difference, direction[None])[layer] > 0.999
        assert vectors.cosine(vector.toward, direction[None])[layer] > 0.999
    assert np.abs(vector.difference[0]).max() == 0
    np.testing.assert_allclose(evidence.separation.auroc.value, [0.5, 1, 1])
    np.testing.assert_allclose(evidence.reliability.value, [0, 1, 1], atol=1e-5)
    assert (evidence.separation.auroc.low[1:] == 1).all()
    gap = evidence.projections[0] - evidence.projections[1]
    np.testing.assert_allclose(gap, np.linalg.norm(vector.difference, axis=-1), rtol=1e-5)


def test_packed_states_are_those_of_texts_alone(planted_model, pair_states):
    model, params, _ = planted_model
    text = planted.prompts(True)[3]
    alone = states.collect(model, params, planted.last_tokens([text]))
    np.testing.assert_allclose(pair_states[3, 0], alone[0, 0], atol=1e-6)


def test_spans_are_averaged_and_edits_are_seen(planted_model):
    model, params, direction = planted_model
    text = planted.prompts(False)[0]
    reading = states.Reading(text, ((0, len(text)), (2, 4)))
    single = states.Reading(text, tuple((n, n + 1) for n in range(len(text))))
    ((_, parts),) = states.read_states(model, params, [reading])
    ((_, tokens),) = states.read_states(model, params, [single])
    np.testing.assert_allclose(parts[0], tokens.mean(0), atol=1e-6)
    np.testing.assert_allclose(parts[1], tokens[2:4].mean(0), atol=1e-6)
    edits = make_edits(model.config, {0: 2 * direction})
    ((_, moved),) = states.read_states(model, params, [reading], edits)
    np.testing.assert_allclose(
        moved - parts, np.broadcast_to(2 * direction, parts.shape), atol=1e-5
    )


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        (((0, 9),), r"text 1: expected a part of its 3 tokens, found 0 to 9"),
        (((2, 2),), r"text 1: expected a part of its 3 tokens, found 2 to 2"),
        (((0, 1), (1, 2)), "text 1: expected as many spans as the first text has"),
    ],
)
def test_spans_that_are_not_there_are_refused(planted_model, spans, message):
    model, params, _ = planted_model
    readings = [states.Reading((5, 6, 7), ((0, 1),)), states.Reading((5, 6, 7), spans)]
    with pytest.raises(ValueError, match=message):
        states.collect(model, params, readings)


def first_tokens(model, params, texts, steering):
    """The first sampled token of each."""
    queue = Queue(model, params, (), Settings(max_new_tokens=2, batch_size=32), steering=steering)
    for number, text in enumerate(texts):
        queue.add(TokenRequest(str(number), text, 2, 0))
    found = {}
    while queue.busy:
        found |= {done.request.id: done.tokens[0] for done in queue.step()}
    return set(found.values())


@pytest.mark.slow
def test_steering_flips_the_markers_effect(planted_model, pair_states):
    model, params, direction = planted_model
    marked, plain = planted.prompts(True), planted.prompts(False)
    vector = pair_states[:, 0].mean(0)[1] - pair_states[:, 1].mean(0)[1]
    no_effect = make_edits(model.config, {1: 0 * vector}, [Cap(1, direction)])

    def steer(texts, alpha=0.0, high=np.inf):
        edits = dataclasses.replace(
            no_effect, added=no_effect.added.at[1].set(alpha * vector), high=jnp.full((3, 1), high)
        )
        return first_tokens(model, params, texts, Steering(edits, "all"))

    assert (steer(plain), steer(marked)) == ({planted.NO}, {planted.YES})
    assert steer(plain, alpha=1.5) == {planted.YES}
    assert steer(marked, alpha=-1.5) == {planted.NO}
    assert steer(marked, high=0.1) == {planted.NO}


def test_capping_bounds_the_projection(planted_model):
    model, params, direction = planted_model
    marked, plain = planted.prompts(True), planted.prompts(False)
    capped = make_edits(model.config, caps=[Cap(1, direction, -0.05, 0.1)])
    readings = planted.last_tokens(marked)
    for _, found in states.read_states(model, params, readings, capped):
        assert found[0, 1] @ direction == pytest.approx(0.1, abs=1e-5)
    plainly = planted.last_tokens(plain)
    along = [found[0, 1] @ direction for _, found in states.read_states(model, params, plainly)]
    for (_, found), before in zip(
        states.read_states(model, params, plainly, capped), along, strict=True
    ):
        assert found[0, 1] @ direction == pytest.approx(np.clip(before, -0.05, 0.1), abs=1e-5)
