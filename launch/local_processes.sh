#!/usr/bin/env bash
# Runs flan-jax as several processes on this machine, as a pod would: to try a multi-host run before paying for one.
#   launch/local_processes.sh 2 train --gin_file=my_run.gin
set -euo pipefail
count=$1
shift
export FLAN_JAX_COORDINATOR=localhost:${FLAN_JAX_PORT:-9876} FLAN_JAX_PROCESSES=$count
trap 'kill 0' INT TERM
for ((process = 1; process < count; process++)); do
  FLAN_JAX_PROCESS=$process flan-jax "$@" > "process-$process.log" 2>&1 &
done
FLAN_JAX_PROCESS=0 flan-jax "$@"
wait
