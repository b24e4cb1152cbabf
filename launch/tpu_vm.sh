#!/usr/bin/env bash
# The same command on every host of a TPU slice; the hosts find each other by the slice's metadata.
#   launch/tpu_vm.sh MY_TPU MY_ZONE train --gin_file=my_run.gin --run_dir /shared/run
set -euo pipefail
tpu=$1 zone=$2
shift 2
gcloud compute tpus tpu-vm ssh "$tpu" --zone "$zone" --worker=all --command "flan-jax $(printf '%q ' "$@")"
