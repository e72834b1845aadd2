#!/usr/bin/env bash
# One machine with several NVIDIA GPUs: one process drives them all.
#
#     launch/gpu_node.sh --config=lagdpo:qwen3-4b --config.workdir=/data/runs/first
#
# By default all GPUs split the parameters (mesh.fsdp); add --config.mesh.data=2 for two replicas.
set -euo pipefail
cd "$(dirname "$0")/.."

# Let XLA take nearly all of the memory at once; fragmentation costs more than it saves.
export XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.94}"
# DETERMINISTIC=1 makes two runs equal bit for bit, at some cost in speed.
if [[ "${DETERMINISTIC:-0}" == 1 ]]; then
  export XLA_FLAGS="${XLA_FLAGS:-} --xla_gpu_deterministic_ops=true"
fi
exec python -m dignified_jax.train "$@"
