#!/usr/bin/env bash
# Runs flan-jax as several processes on this machine, as a pod would: to try a multi-host run before paying for one.
#   launch/local_processes.sh 2 train --gin_file=my_run.gin
# The first process prints here, each other one into process-N.log. Ends with the code of the one that failed first, and
# says which it was; the others, which would wait for it, are ended.
set -euo pipefail
count=$1
shift
export FLAN_JAX_COORDINATOR=localhost:${FLAN_JAX_PORT:-9876} FLAN_JAX_PROCESSES=$count
FLAN_JAX_PROCESS=0 flan-jax "$@" &
pids=($!)
for ((process = 1; process < count; process++)); do
  FLAN_JAX_PROCESS=$process flan-jax "$@" > "process-$process.log" 2>&1 &
  pids+=($!)
done
end_all() { kill "${pids[@]}" 2> /dev/null || true; }
trap end_all INT TERM

code=0
living=("${!pids[@]}")
while ((${#living[@]})); do
  sleep 0.2
  running=" $(jobs -rp | tr '\n' ' ') "
  still=()
  for process in "${living[@]}"; do
    if [[ $running == *" ${pids[process]} "* ]]; then
      still+=("$process")
      continue
    fi
    this=0
    wait "${pids[process]}" || this=$?
    if ((this && !code)); then
      code=$this
      where=$( ((process == 0)) || echo ", see process-$process.log")
      echo "process $process of $count ended with code $code$where; the others are ended" >&2
      end_all
    fi
  done
  living=(${still[@]+"${still[@]}"})
done
exit "$code"
