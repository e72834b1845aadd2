"""Fixtures shared by all tests. Eight CPU devices, so that meshes can be tested anywhere."""

import contextlib
import functools
import gc
import os
import pathlib
import signal

# Before anything imports JAX.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Nothing may be fetched: every model and data set is written by the tests or ships with us.
os.environ["HF_HUB_OFFLINE"] = "1"
# The models are tiny and the workers two: threads of torch would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nobody reads from which line of Python an operation came; to write it down takes time.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

import jax
import pytest
from jax._src import compiler as jax_compiler
from jax._src import lru_cache
from jaxtyping import install_import_hook

from tests import annotations
from tests.oracles import stores

# Modules whose annotations of arrays (dtypes, axes) are checked at every call while tests run.
_OBJECTIVES = (
    *("dpo", "lagdpo", "modpo", "multi_negative", "pcgrad", "sft", "terms", "golden"),
    *("duals.controllers", "duals.tolerances"),
)
CHECKED_MODULES = (
    *(f"dignified_jax.objectives.{name}" for name in _OBJECTIVES),
    *(f"dignified_jax.training.step.{name}" for name in ("local", "metrics")),
)
# Of these, which define trees, or functions under JAX's transformations, the functions alone.
_MODELS = (
    *("logprobs", "output_head", "divergence", "attention.token_tree", "attention.dispatch"),
    *("attention.unpacking", "attention.blocks", "attention.cudnn", "attention.splash"),
)
CHECKED_FUNCTIONS = (
    "dignified_jax.data.packing",
    *(f"dignified_jax.models.{name}" for name in _MODELS),
    *(f"dignified_jax.training.step.{name}" for name in ("gradients", "held_out", "train_step")),
    "dignified_jax.training.inputs.reference",
)
install_import_hook(CHECKED_MODULES, "beartype.beartype")
annotations.install(CHECKED_FUNCTIONS)

from dignified_jax import data  # noqa: E402
from dignified_jax.embedded import resolve  # noqa: E402

# Tracing makes many small objects that stay; looking through them so often is a tenth of it.
gc.set_threshold(50_000, 20, 50)
# What starts tests in the background may have them ignore Ctrl-C, and so the commands they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A process can map 65,530 regions, and every compiled program takes some; each of two workers may
# hold a third of the machine's memory.
MOST_REGIONS = 30_000
MOST_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 3


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Compiles equal programs of different tests once, also those of the other worker.

    DIGNIFIED_TEST_CACHE may name a directory that stays between runs. Commands that tests start
    have a cache for each worker: JAX's writes there are not atomic.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    shared = tmp_path_factory.getbasetemp().parent if worker else tmp_path_factory.getbasetemp()
    directory = os.environ.get("DIGNIFIED_TEST_CACHE") or str(shared / "compiled")
    jax.config.update("jax_compilation_cache_dir", directory)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    os.environ["DIGNIFIED_COMMAND_CACHE"] = f"{directory}/commands_{worker or 'main'}"

    def put(self, key, value):
        """JAX writes in place: the other worker would read half of an entry."""
        entry = pathlib.Path(self.path) / f"{key}-cache"
        if not entry.exists():
            aside = entry.with_suffix(f".{os.getpid()}")
            aside.write_bytes(value)
            aside.replace(entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lru_cache.LRUCache, "put", put)
        yield


@pytest.fixture(scope="session", autouse=True)
def token_cache(tmp_path_factory):
    """Keeps token ids of the tests, and of the commands they start, apart from the user's."""
    os.environ["DIGNIFIED_JAX_CACHE"] = str(tmp_path_factory.mktemp("token_ids"))


@pytest.fixture(scope="session")
def stores_here():
    """Scheme -> URL of a bucket on the loopback, served from its first use to the session's end.

    (A fixture with both as parameters would end one to begin the other, again and again.)
    """
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:

        @functools.cache
        def serve(scheme):
            for name, value in stack.enter_context(stores.serving(scheme)).items():
                patch.setenv(name, value)
            return f"{scheme}://{stores.BUCKET}"

        yield serve


@pytest.fixture(params=["s3", "gs"])
def bucket(request, stores_here):
    """URL of a bucket on the loopback, which the environment leads to."""
    if absent := stores.missing(request.param):
        pytest.skip(f"not installed: {', '.join(absent)}")
    return stores_here(request.param)


@pytest.fixture
def url(bucket, tmp_path):
    """URL of an empty directory of the bucket."""
    return f"{bucket}/{tmp_path.parent.name}/{tmp_path.name}"


# Of the modules that are not of wiring, those that take more than ten seconds.
LONGEST = (
    *("models/attention/test_dispatch.py", "models/attention/test_windows.py"),
    *("training/test_kills.py", "training/test_loop.py"),
    *("training/step/test_train_step_bits.py", "training/step/test_step_memory.py"),
    *("models/families/test_gemma3_text.py", "planning/test_memory.py"),
)


def pytest_make_parametrize_id(val, argname):
    """Names a test by a parameter's name where its value is bytes: both workers must find the same
    names, and bytes of compressed files hold the time."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items):
    """Puts the modules of wiring first, so that a worker changes its compiler once; then those that
    take long, so that both workers end together."""
    root = pathlib.Path(__file__).parent
    longest = {root / name for name in LONGEST}
    items.sort(
        key=lambda item: (item.get_closest_marker("wiring") is None, item.path not in longest)
    )


def pytest_collection_finish():
    """What was imported stays: the garbage collector need not look at it again and again."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def older_emitters():
    """Modules of wiring take XLA's older code for fusions, which is compiled sooner."""
    options_of = jax_compiler.get_compile_options

    def get_compile_options(*args, env_options_overrides=None, **kwargs):
        if jax.config.read("jax_disable_most_optimizations"):
            older = {"xla_cpu_use_fusion_emitters": False}
            env_options_overrides = {**older, **(env_options_overrides or {})}
        return options_of(*args, env_options_overrides=env_options_overrides, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax_compiler, "get_compile_options", get_compile_options)
        yield


@pytest.fixture(scope="module", autouse=True)
def compiler(request):
    """Compiles with few optimisation passes, in a third of the time, for modules of `wiring`.

    What those hold is neither bits nor kernels. Programs of one compiler never reach the other.
    """
    wiring = request.node.get_closest_marker("wiring") is not None
    if jax.config.read("jax_disable_most_optimizations") != wiring:
        jax.clear_caches()
        jax.config.update("jax_disable_most_optimizations", wiring)
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(wiring))


@pytest.fixture(scope="module", autouse=True)
def programs_freed():
    """Unloads compiled programs after a module when the process is full of them."""
    yield
    if mapped_regions() > MOST_REGIONS or resident_bytes() > MOST_BYTES:
        jax.clear_caches()
        gc.collect()


def mapped_regions():
    maps = pathlib.Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.is_file() else MOST_REGIONS + 1


def resident_bytes():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


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
