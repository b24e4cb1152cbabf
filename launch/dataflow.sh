#!/usr/bin/env bash
# Prepares token stores on Google Cloud Dataflow, from data and into a STORE_DIR that lie at gs:// addresses; in the
# environment of Beam (see CONTRIBUTING), with `apache-beam[gcp]` and `gcsfs`. MY_IMAGE: launch/beam.Dockerfile.
#   launch/dataflow.sh MY_PROJECT MY_REGION gs://MY_BUCKET/tmp MY_IMAGE --gin_file=my_run.gin --store_dir gs://MY_BUCKET/stores
set -euo pipefail
project=$1 region=$2 temp=$3 image=$4
shift 4
exec flan-jax prepare "$@" --runner beam -- --runner=DataflowRunner --project="$project" --region="$region" \
  --temp_location="$temp" --sdk_container_image="$image" --sdk_location=container \
  --worker_machine_type=n1-standard-4 --number_of_worker_harness_threads=1 --max_num_workers=100
