"""What tests of models share."""

import dataclasses
import functools

import jax
import pytest

from dignified_jax.models import hf
from dignified_jax.models.decoder import Decoder
from tests.oracles import hf_models


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A random checkpoint of a family that transformers wrote, as it was loaded."""

    reference: object
    model: Decoder
    _params: dict

    @property
    def params(self):
        """A tree of its own, whose leaves are shared."""
        return jax.tree.map(lambda leaf: leaf, self._params)


@pytest.fixture(scope="session")
def loaded(tmp_path_factory):
    """`(family, scale=8.0) -> Loaded`, each made once."""

    @functools.cache
    def load(family, scale=8.0):
        directory = tmp_path_factory.mktemp("model")
        reference = hf_models.build(family, scale=scale)
        reference.save_pretrained(directory)
        return Loaded(reference, *hf.load(directory))

    return load
