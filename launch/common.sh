# Sourced by the other scripts. `--dry-run` as the first argument, or DRY_RUN=1, prints the commands
# that would run, one a line and quoted for a shell, and runs none.
DRY_RUN="${DRY_RUN:-0}"
if [[ "${1:-}" == --dry-run ]]; then
  DRY_RUN=1
  shift
fi

# Runs a command, or prints it.
run() {
  if [[ "$DRY_RUN" == 1 ]]; then
    local word line="" quote="'" escaped="'\\''"
    for word in "$@"; do
      # Not ${word@Q}, which the bash 3.2 of macOS lacks.
      [[ "$word" =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word="$quote${word//$quote/$escaped}$quote"
      line+=" $word"
    done
    echo "${line# }"
  else
    "$@"
  fi
}

fail() {
  echo "error: $*" >&2
  exit 1
}

# The program that is started: dignified_jax.train, or another of its kind (MODULE=dignified_jax.compare).
MODULE="${MODULE:-dignified_jax.train}"
