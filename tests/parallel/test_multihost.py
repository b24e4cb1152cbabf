import socket
import subprocess
import sys

import pytest

from flan_jax.errors import UserError
from flan_jax.parallel import multihost

CHILD = """
import jax, jax.numpy as jnp
from flan_jax.parallel.multihost import initialize
assert initialize() and initialize()  # the stages of a run each ask for it
from jax.experimental.multihost_utils import process_allgather
total = int(process_allgather(jnp.array([jax.process_index() + 1])).sum())
print("sum", total, jax.process_count(), jax.device_count())
"""


def settings(**changes):
    whole = {"COORDINATOR": "localhost:1234", "PROCESSES": "2", "PROCESS": "0"} | changes
    return {f"FLAN_JAX_{name}": value for name, value in whole.items() if value is not None}


def test_one_host_is_left_alone():
    assert multihost.initialize({}) is False
    assert multihost.initialize({"TPU_WORKER_HOSTNAMES": "localhost", "MEGASCALE_NUM_SLICES": "1"}) is False
    assert multihost.initialize(settings(PROCESSES="1")) is False


def test_pods_are_recognised():
    assert multihost.on_pod({"TPU_WORKER_HOSTNAMES": "a,b,c"}) and multihost.on_pod({"MEGASCALE_NUM_SLICES": "2"})
    warning = "WARNING: could not determine TPU worker hostnames, please set env var"
    assert not multihost.on_pod({"TPU_WORKER_HOSTNAMES": warning}) and not multihost.on_pod(
        {"MEGASCALE_NUM_SLICES": "x"}
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"COORDINATOR": None}, "FLAN_JAX_COORDINATOR is not set"),
        ({"PROCESS": None, "PROCESSES": "x"}, "FLAN_JAX_PROCESS is not set; FLAN_JAX_PROCESSES is 'x'"),
        ({"COORDINATOR": "here"}, "'here', wanted host:port"),
        ({"PROCESS": "2"}, "FLAN_JAX_PROCESS is 2, wanted less than FLAN_JAX_PROCESSES, 2"),
        ({"PROCESSES": "0"}, "FLAN_JAX_PROCESSES is '0', wanted a whole number of 1 or more"),
    ],
)
def test_settings_that_do_not_fit_are_told(changes, words):
    with pytest.raises(UserError, match=words):
        multihost.initialize(settings(**changes))


def test_two_processes_join():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD],
            env=settings(COORDINATOR=f"localhost:{port}", PROCESS=str(i))
            | {"JAX_PLATFORMS": "cpu", "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    try:
        for child in children:
            out, err = child.communicate(timeout=120)
            assert "sum 3 2 2" in out.splitlines(), err[-2000:]
    finally:
        for child in children:
            child.kill()
