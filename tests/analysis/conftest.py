"""The planted model, compiled once."""

import pytest

from tests.analysis import planted


@pytest.fixture(scope="package")
def planted_model():
    return planted.build()
