"""Hidden states from the cache against those of the whole row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.models.attention.token_tree import TokenTree
from dignified_jax.models.decoder import Decoder
from dignified_jax.models.kv_cache import ABSENT, FRESH

pytestmark = pytest.mark.wiring

TOKENS = np.random.default_rng(0).integers(0, 131, (2, 30))


def hidden(model, params, *arguments, **collections):
    return model.apply(
        {"params": params, **collections},
        *arguments,
        method=Decoder.hidden_states,
        mutable=[FRESH],
    )


@pytest.mark.parametrize(
    "family", ["llama3.2", "mistral", "smollm3", "qwen2.5 with windows", "gemma3", "qwen3-moe"]
)
@pytest.mark.parametrize("attention", ["blocks", "dense"])
def test_a_token_over_the_cache_equals_the_whole_row(family, attention, loaded):
    """The rows' caches end at different places, and the last three tokens are in the recent part.

    2e-6 of states of size 1; without its window mistral is far off.
    """
    params = loaded(family).params
    model = loaded(family).model.clone(attention=attention)
    want, fresh = jax.jit(lambda: hidden(model, params, TOKENS))()
    lengths = np.array([29, 21])  # of what is cached; the next token is computed
    begun = lengths - 3
    stored = jax.tree.map(np.asarray, fresh[FRESH]["layers"]["self_attn"])
    key, value = stored["key"], stored["value"]  # (layer, row, place, head, width)
    places = np.arange(40)
    recent = begun[:, None] + np.arange(4)  # the last of the four is not there yet
    pick = lambda x: np.stack([x[:, n, recent[n]] for n in range(2)], axis=1)  # noqa: E731
    pad = lambda x: np.pad(x, [(0, 0)] * 2 + [(0, 10)] + [(0, 0)] * 2)  # noqa: E731
    cache = {
        "key": pad(key).transpose(0, 1, 3, 4, 2),
        "value": pad(value).transpose(0, 1, 3, 2, 4),
        "recent_key": pick(key).transpose(0, 1, 3, 4, 2),
        "recent_value": pick(value).transpose(0, 1, 3, 2, 4),
    }
    positions = jnp.asarray(lengths[:, None])
    tree = TokenTree(
        jnp.ones((2, 1), jnp.int32),
        positions=positions,
        key_positions=jnp.asarray(
            np.concatenate(
                [
                    np.where(places < begun[:, None], places, ABSENT),
                    np.where(recent < lengths[:, None], recent, ABSENT),
                ],
                axis=1,
            )
        ),
    )
    tokens = TOKENS[np.arange(2), lengths][:, None]
    step = jax.jit(lambda cache: hidden(model, params, tokens, positions, tree, cache=cache)[0])
    got = step({"layers": {"self_attn": cache}})
    want = np.asarray(want)[np.arange(2), lengths]
    np.testing.assert_allclose(got[:, 0], want, rtol=0, atol=2e-6 * np.abs(want).max())


def test_nothing_is_kept_unless_it_is_asked_for(loaded):
    model = loaded("llama3").model
    assert set(jax.eval_shape(model.init, jax.random.key(0), TOKENS)) == {"params"}
    variables = {"params": loaded("llama3").params}
    states = model.apply(variables, TOKENS, method=Decoder.hidden_states)
    assert states.shape == (2, 30, 48)  # no collection beside it
