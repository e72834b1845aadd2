"""One process of several: ROOT WORKDIR PORT COUNT INDEX DEVICES TENSOR REFERENCE."""

import os
import pathlib
import sys

_, ROOT, WORKDIR, PORT, COUNT, INDEX, DEVICES, TENSOR, REFERENCE = sys.argv
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"

import jax  # noqa: E402

if int(COUNT) > 1:
    jax.distributed.initialize(f"127.0.0.1:{PORT}", int(COUNT), int(INDEX))

from dignified_jax.training import loop  # noqa: E402
from dignified_jax.training.step.sharding import MeshConfig  # noqa: E402
from tests.oracles import tiny_run  # noqa: E402

assert jax.process_count() == int(COUNT) and len(jax.devices()) == int(COUNT) * int(DEVICES)
mesh = MeshConfig(data=2, tensor=int(TENSOR))  # fsdp takes the rest
loop.run(tiny_run.config(pathlib.Path(ROOT), WORKDIR, mesh=mesh, reference=REFERENCE))
