#!/usr/bin/env bash
# Prepares token stores on a Flink cluster whose machines share a file system (or use addresses); in the environment of
# Beam (see CONTRIBUTING), with Java for Beam's job server. First, on each task manager's machine, in that environment
# activated, for the pool starts `python`:
#   python -m apache_beam.runners.worker.worker_pool_main --service_port=50000
# and then, from anywhere,
#   launch/flink.sh MY_FLINK:8081 64 --gin_file=my_run.gin --store_dir /shared/stores
set -euo pipefail
master=$1 parallelism=$2
shift 2
exec flan-jax prepare "$@" --runner beam -- --runner=FlinkRunner --flink_master="$master" \
  --parallelism="$parallelism" --environment_type=EXTERNAL --environment_config=localhost:50000
