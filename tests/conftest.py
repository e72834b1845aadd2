"""Fixtures shared by all tests. Eight CPU devices, so that meshes can be tested anywhere."""

import gc
import os

# Before anything imports JAX.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Nothing may be fetched: every model and data set is written by the tests or ships with us.
os.environ["HF_HUB_OFFLINE"] = "1"

import jax
import pytest

from dignified_jax import data
from dignified_jax.embedded import resolve


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Equal programs of different tests are compiled once; of different runs too, where
    DIGNIFIED_TEST_CACHE names a directory that no other run writes to at the time."""
    directory = os.environ.get("DIGNIFIED_TEST_CACHE") or tmp_path_factory.mktemp("compiled")
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture(scope="module", autouse=True)
def programs_freed():
    """Compiled programs stay loaded, and one process can map only so many."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session")
def tiny_directory():
    """The embedded Hugging Face model."""
    return resolve("embedded:tiny-qwen3")


@pytest.fixture(scope="session")
def mini_rows():
    """The embedded training rows."""
    return data.read_rows(resolve("embedded:personaknob_mini/train.jsonl"))


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_directory):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_directory)
