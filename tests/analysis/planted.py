"""A decoder in which a marker word plants a known direction into the stream of later tokens."""

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.analysis.states import Reading, last_token
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Decoder

WIDTH, LAYERS, PLANTED_AT = 32, 3, 1
MARKER, OTHER, YES, NO = 1, 2, 3, 4
VOCAB = 64
CONFIG = DecoderConfig("LlamaForCausalLM", VOCAB, WIDTH, 32, LAYERS, 2, 1, 16, 1e4)


def build():
    """(model, params, direction): layer PLANTED_AT writes the direction, of length 1, to every
    token after the marker, 1/n of it to the n-th token; all other layers write nothing. Along it
    the next token is YES, without it NO."""
    rng = np.random.default_rng(0)
    model = Decoder(CONFIG, remat="none")
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), np.zeros((1, 2), np.int32)))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes["params"])
    for name in ("input_layernorm", "post_attention_layernorm"):
        params["layers"][name]["scale"][:] = 1.0
    params["norm"]["scale"][:] = 1.0
    direction = np.zeros(WIDTH, np.float32)
    direction[8:] = rng.normal(size=WIDTH - 8)
    direction /= np.linalg.norm(direction)
    words = params["embed_tokens"]["embedding"]
    words[:, 8:] = 0.1 * rng.normal(size=(VOCAB, WIDTH - 8))
    words[:, 1] = 1.0
    words[MARKER, 0] = 5.0
    attention = params["layers"]["self_attn"]
    attention["v_proj"]["kernel"][PLANTED_AT, 0, 0] = 1.0
    attention["o_proj"]["kernel"][PLANTED_AT, 0] = 6.0 * direction
    params["lm_head"]["kernel"][:, YES] = 10.0 * direction
    params["lm_head"]["kernel"][1, NO] = 5.0
    return model, jax.tree.map(jnp.asarray, params), direction


def prompts(marked, count=20, seed=1):
    """Token ids of prompts, the same but for the second word."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        words = rng.integers(5, VOCAB, rng.integers(5, 9)).tolist()
        words[1] = MARKER if marked else OTHER
        found.append(tuple(words))
    return found


def last_tokens(texts):
    """Readings of the texts' last tokens."""
    return [Reading(text, (last_token(text),)) for text in texts]
