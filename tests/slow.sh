#!/usr/bin/env bash
# What the plain test command leaves out: slow tests, repeated kills and races, real models beside transformers; about an
# hour on 2 cores. Ends with the counts of each, and fails where any failed.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
counts=() failed=0

run() { # NAME COMMAND...
    local name=$1 code=0
    shift
    "$@" 2>&1 | tee "$log" || code=$?
    counts+=("$name: $(grep -E '^(=+ )?[0-9]+ (passed|failed|skipped|error)' "$log" | tail -n 1 | tr -d =)")
    if ((code)); then counts[-1]+=" FAILED with code $code" failed=1; fi
}

run slow uv run --extra test pytest -q -m slow "$@"
run soak uv run --extra test pytest -q -m soak "$@"
run "real models" tests/parity/run.sh -m slow tests/parity
printf '%s\n' "" "${counts[@]}"
exit $failed
