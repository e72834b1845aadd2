#!/usr/bin/env bash
# All hosts of a Cloud TPU slice: copies this checkout to each, installs it, starts one process a host.
#
#     TPU=my-pod ZONE=us-central2-b launch/tpu_pod.sh \
#         --config=lagdpo:llama3-8b --config.workdir=gs-mounted/runs/first
#
# The run directory and the model must be visible to every host at the same path (a mounted
# bucket or a network disk). Needs gcloud on this machine.
set -euo pipefail
: "${TPU:?name of the TPU slice}" "${ZONE:?its zone}"
cd "$(dirname "$0")/.."

archive=$(mktemp --suffix=.tar.gz)
trap 'rm -f "$archive"' EXIT
git archive --format=tar.gz --output="$archive" HEAD

all_hosts() { gcloud compute tpus tpu-vm "$1" "${@:2}" --zone="$ZONE" --worker=all; }
all_hosts scp "$archive" "$TPU:dignified_jax.tar.gz"
arguments=$(printf ' %q' "$@" --config.distributed=True)
all_hosts ssh "$TPU" --command="
  set -e
  mkdir -p dignified_jax_run && tar -xzf dignified_jax.tar.gz -C dignified_jax_run
  cd dignified_jax_run
  python3 -m venv .venv && .venv/bin/pip install -q -e '.[tpu]'
  .venv/bin/python -m dignified_jax.train$arguments"
