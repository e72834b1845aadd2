#!/usr/bin/env bash
# One machine with 1 to 8 NVIDIA GPUs: one process drives them all.
#
#     launch/gpu_node.sh --config=lagdpo:qwen3-4b --config.workdir=/data/runs/first
#     GPUS=4 launch/gpu_node.sh --dry-run --config=lagdpo:qwen3-4b
#
# By default all GPUs split the parameters (mesh.fsdp); add --config.mesh.data=2 for two replicas.
# GPUS=4 takes the first four. DETERMINISTIC=1 makes two runs equal bit for bit.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/common.sh
source launch/common.sh

settings=()
if [[ -n "${GPUS:-}" ]]; then
  [[ "$GPUS" =~ ^[1-8]$ ]] || fail "GPUS must be 1 to 8, found $GPUS"
  settings+=("CUDA_VISIBLE_DEVICES=$(seq -s, 0 $((GPUS - 1)))")
fi

# jaxlib 0.10.2 and newer take 75% of a GPU's memory when they start; a run needs nearly all of it,
# and taken at once it does not fragment. (The older name has PYTHON_ in it; both is an error.)
if [[ -z "${XLA_CLIENT_MEM_FRACTION:-}${XLA_PYTHON_CLIENT_MEM_FRACTION:-}" ]]; then
  settings+=(XLA_CLIENT_MEM_FRACTION=0.94)
fi

flags="${XLA_FLAGS:-}"
# Lets a layer's gather over fsdp run while the layer before it computes. Known to jaxlib 0.4.18
# to 0.12; some versions have it on without being told.
flags+=" --xla_gpu_enable_latency_hiding_scheduler=true"
if [[ "${DETERMINISTIC:-0}" == 1 ]]; then
  # Takes reductions and scatters whose order does not vary from run to run; slower. jaxlib 0.4 to 0.12.
  flags+=" --xla_gpu_deterministic_ops=true"
fi
settings+=("XLA_FLAGS=${flags# }")

[[ "$DRY_RUN" == 1 ]] || exec env "${settings[@]}" python -m "$MODULE" "$@"
run env "${settings[@]}" python -m "$MODULE" "$@"
