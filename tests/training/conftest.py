"""What tests of whole runs share."""

import types

import jax
import pytest

from dignified_jax.training import loop, run_context
from dignified_jax.training.step import sharding
from tests.oracles import tiny_run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A directory with the model and the rows of `tiny_run`."""
    directory = tmp_path_factory.mktemp("source")
    tiny_run.write(directory)
    return directory


@pytest.fixture(scope="module", autouse=True)
def few_devices(request):
    """Runs take every device there is; a module's DEVICES says how many that shall be."""
    count = getattr(request.module, "DEVICES", None)
    with pytest.MonkeyPatch.context() as patch:
        if count is not None:
            make = sharding.make_mesh
            patch.setattr(
                run_context, "make_mesh", lambda config: make(config, jax.devices()[:count])
            )
        yield


@pytest.fixture(scope="session", autouse=True)
def few_plots():
    """Only the first of all runs draws its plots; their own tests draw more."""
    write, drawn = loop.plots.write, []

    def once(workdir):
        if not drawn:
            drawn.append(workdir)
            write(workdir)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "plots", types.SimpleNamespace(write=once))
        yield
