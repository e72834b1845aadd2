#!/usr/bin/env bash
# A run on GKE: fills in gke_jobset.yaml or gke_jobset_gpu.yaml, applies it, and follows the first pod.
#
#     KIND=tpu IMAGE=us-docker.pkg.dev/my/repo/dignified BUCKET=my-bucket HOSTS=2 CHIPS=4 \
#         ACCELERATOR=tpu-v5p-slice TOPOLOGY=2x2x2 launch/gke_jobset.sh \
#         --config=lagdpo:llama3-8b --config.workdir=/bucket/runs/first
#     KIND=gpu IMAGE=… BUCKET=my-bucket HOSTS=2 CHIPS=8 ACCELERATOR=nvidia-h100-80gb launch/gke_jobset.sh …
#
# HOSTS are pods, CHIPS the chips or GPUs of each. NAME (default dignified-jax) names the JobSet and QUEUE
# (default "default") Kueue's local queue. Ctrl-C leaves the run alone:
#
#     NAME=… launch/gke_jobset.sh logs    # follows it again
#     NAME=… launch/gke_jobset.sh down    # ends it, after a checkpoint
#
# `--dry-run` before all else prints the manifest and the commands and runs none. Needs kubectl.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/common.sh
source launch/common.sh

export NAME="${NAME:-dignified-jax}" QUEUE="${QUEUE:-default}" MODULE
[[ "$NAME" =~ ^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$ ]] || fail "NAME must be a DNS label of at most 40, found $NAME"

# The template with the variables of the environment in place of ${…}; an unset one is an error.
manifest() {
  python3 - "$1" "${@:2}" <<'PYTHON'
import json, os, string, sys

text = open(sys.argv[1], encoding="utf-8").read()
text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
values = {**os.environ, "ARGUMENTS": json.dumps(sys.argv[2:])}
try:
    print(string.Template(text).substitute(values))
except KeyError as missing:
    sys.exit(f"error: {missing.args[0]} is not set; see the beginning of launch/gke_jobset.sh")
PYTHON
}

first="jobset.sigs.k8s.io/jobset-name=$NAME,batch.kubernetes.io/job-completion-index=0"
POLL_SECONDS="${POLL_SECONDS:-5}"

phase() { kubectl get pod -l "$first" -o 'jsonpath={.items[0].status.phase}' 2>/dev/null; }
ended() { kubectl get jobset "$NAME" -o 'jsonpath={.status.terminalState}'; }

# Follows the first pod's log, and that of the pod that takes its place after a restart. Returns 1
# where the JobSet has failed, or is gone.
follow() {
  if [[ "$DRY_RUN" == 1 ]]; then
    run kubectl logs --follow -l "$first" --tail=-1
    return
  fi
  local state=""
  while [[ -z "$state" ]]; do
    until [[ "$(phase)" =~ ^(Running|Succeeded|Failed)$ ]]; do
      state="$(ended)" || fail "$NAME: no such JobSet, or the cluster gives no answer"
      [[ -z "$state" ]] || break # and its pods are gone
      sleep "$POLL_SECONDS" # for the queue, the nodes and the image
    done
    kubectl logs --follow -l "$first" --tail=-1 || true
    sleep "$POLL_SECONDS"
    state="$(ended)"
  done
  echo "$NAME: $state" >&2
  [[ "$state" == Completed ]]
}

up() {
  local template filled
  case "${KIND:?tpu or gpu}" in
    tpu) template=launch/gke_jobset.yaml ;;
    gpu) template=launch/gke_jobset_gpu.yaml ;;
    *) fail "KIND must be tpu or gpu, found $KIND" ;;
  esac
  [[ "${HOSTS:?pods}" =~ ^[1-9][0-9]*$ ]] || fail "HOSTS must be a number of pods, found $HOSTS"
  filled="$(manifest "$template" "$@" --config.distributed.enabled=True)"
  [[ "$DRY_RUN" == 0 ]] || echo "$filled"
  run kubectl apply -f - <<<"$filled"
  follow
}

case "${1:-}" in
  logs) follow ;;
  down) run kubectl delete jobset "$NAME" ;;
  --config*) up "$@" ;;
  *) fail "expected logs, down or the flags of a run, found '${1:-}'" ;;
esac
