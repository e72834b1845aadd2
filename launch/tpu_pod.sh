#!/usr/bin/env bash
# A Cloud TPU slice, from its request to the end of a run on all its hosts.
#
#     TPU=my-pod ZONE=us-central2-b ACCELERATOR=v5p-16 launch/tpu_pod.sh \
#         --config=lagdpo:llama3-8b --config.workdir=/mnt/bucket/runs/first
#
# asks for the slice where there is none of that name (a queued resource) and waits for it, copies
# this checkout's last commit to every host and installs it, starts one process a host, and follows
# the first one's log. At the end it deletes the slice, if it was the one who asked for it. Ctrl-C
# does the same, after a checkpoint. KEEP=1 deletes nothing.
#
# One of these steps alone: launch/tpu_pod.sh up|install|run ARGUMENTS|tail|stop|down
# `--dry-run` before all else prints the commands and runs none.
#
# SPOT=1 takes a spot slice; PROJECT and RUNTIME (by default the accelerator's) are passed on.
# The run directory and the model must be visible to every host at the same path: a mounted
# bucket or a network disk. Needs gcloud on this machine.
set -euo pipefail
: "${TPU:?name of the TPU slice}" "${ZONE:?its zone}"
cd "$(dirname "$0")/.."
# shellcheck source=launch/common.sh
source launch/common.sh

place=(--zone="$ZONE" ${PROJECT:+--project="$PROJECT"})
POLL_SECONDS="${POLL_SECONDS:-15}"
GRACE_SECONDS="${GRACE_SECONDS:-300}" # for the checkpoint of a run that is stopped
made=0

queued() { run gcloud compute tpus queued-resources "$1" "$TPU" "${place[@]}" "${@:2}"; }
on() { run gcloud compute tpus tpu-vm ssh "$TPU" "${place[@]}" --worker="$1" --command="$2"; }

runtime() {
  case "$ACCELERATOR" in
    v4-*) echo tpu-ubuntu2204-base ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    *) fail "ACCELERATOR=$ACCELERATOR: set RUNTIME, its runtime version" ;;
  esac
}

state() { gcloud compute tpus queued-resources describe "$TPU" "${place[@]}" --format='value(state.state)'; }

exists() {
  [[ "$DRY_RUN" == 0 ]] || return 1
  gcloud compute tpus tpu-vm describe "$TPU" "${place[@]}" --format='value(state)' >/dev/null 2>&1
}

# Whether somebody has asked for it, who may be waiting for it.
requested() { [[ "$DRY_RUN" == 0 ]] && state >/dev/null 2>&1; }

up() {
  : "${ACCELERATOR:?type of the slice, such as v5p-16}"
  local version
  version="${RUNTIME:-$(runtime)}"
  if ! requested; then
    made=1 # from here on, so that a request that is interrupted is taken back
    queued create --node-id="$TPU" --accelerator-type="$ACCELERATOR" \
      --runtime-version="$version" ${SPOT:+--spot}
  fi
  [[ "$DRY_RUN" == 0 ]] || return 0
  local now="" before=""
  while now="$(state)"; [[ "$now" != ACTIVE ]]; do
    case "$now" in
      FAILED | SUSPENDED | SUSPENDING) fail "the request for $TPU is $now; see: gcloud compute tpus queued-resources describe $TPU" ;;
    esac
    [[ "$now" == "$before" ]] || echo "$TPU: $now ($(date +%T))" >&2
    before="$now"
    sleep "$POLL_SECONDS"
  done
}

# The images bring Python 3.10; uv brings a newer one.
install() {
  local archive
  archive="$(mktemp)" # without --suffix, which macOS lacks
  run git archive --format=tar.gz --output="$archive" HEAD
  local status=0
  run gcloud compute tpus tpu-vm scp "$archive" "$TPU:dignified_jax.tar.gz" "${place[@]}" --worker=all || status=$?
  rm -f "$archive"
  [[ "$status" == 0 ]] || return "$status"
  on all "set -e; mkdir -p dignified_jax_run; tar -xzf dignified_jax.tar.gz -C dignified_jax_run; \
cd dignified_jax_run; python3 -m pip install -q --user uv; python3 -m uv venv -q --allow-existing --python 3.12 .venv; \
python3 -m uv pip install -q --python .venv/bin/python -e '.[tpu,gs]'"
}

# Detached from the connection, which may break: the process goes on, and `tail` finds it again.
start() {
  local arguments script
  arguments="$(printf ' %q' "$@" --config.distributed.enabled=True)"
  script=".venv/bin/python -m $MODULE$arguments & echo \$! >run.pid; wait \$!; echo \$? >run.status"
  on all "cd dignified_jax_run && rm -f run.pid run.status && \
(nohup bash -c $(printf %q "$script") >run.log 2>&1 </dev/null &)"
}

# Follows the first host's log to its end. Returns the status of its process.
follow() {
  local status=0
  while true; do
    status=0
    on 0 "cd dignified_jax_run && until [ -f run.pid ]; do sleep 0.2; done; \
tail -n +1 -F --pid=\$(cat run.pid) run.log 2>/dev/null; until [ -f run.status ]; do sleep 0.2; done; \
exit \$(cat run.status)" || status=$?
    [[ "$status" == 255 ]] || return "$status"
    echo "$TPU: the connection broke; trying again" >&2
    sleep "$POLL_SECONDS"
  done
}

# SIGTERM on one host makes all save; it goes to each, in case one hangs.
stop() {
  on all "cd dignified_jax_run && [ -f run.pid ] && kill -TERM \$(cat run.pid) 2>/dev/null; \
for i in \$(seq $GRACE_SECONDS); do [ -f run.status ] && exit 0; sleep 1; done; \
echo 'still running' >&2; exit 1"
}

down() { queued delete --force --quiet; }

started=0
clean_up() {
  local status=$?
  trap - EXIT INT TERM
  set +e
  if [[ "$status" == 130 && "$started" == 1 ]]; then
    echo "$TPU: saving a checkpoint" >&2
    stop
  fi
  if [[ "$made" == 1 && "${KEEP:-0}" == 0 ]]; then down; fi
  exit "$status"
}

cycle() {
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  exists || up
  install
  started=1
  start "$@"
  follow
}

case "${1:-}" in
  up) up ;;
  install) install ;;
  run) start "${@:2}" ;;
  tail) follow ;;
  stop) stop ;;
  down) down ;;
  --config*) cycle "$@" ;;
  *) fail "expected up, install, run, tail, stop, down or the flags of a run, found '${1:-}'" ;;
esac
