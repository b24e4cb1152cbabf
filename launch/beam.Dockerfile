# What workers of Dataflow run: docker build -f launch/beam.Dockerfile -t MY_IMAGE . && docker push MY_IMAGE
# Its Python and its Beam have to be those of the machine that starts the pipeline; add the modules of your tasks.
FROM apache/beam_python3.11_sdk:2.77.0
COPY . /flan_jax
RUN pip install --no-cache-dir "/flan_jax[beam]" gcsfs
