"""Joining the processes of a run: the only code that knows there may be several hosts."""

import os
from collections.abc import Mapping

import jax

from flan_jax.errors import UserError

COORDINATOR, PROCESSES, PROCESS = "FLAN_JAX_COORDINATOR", "FLAN_JAX_PROCESSES", "FLAN_JAX_PROCESS"


def initialize(environment: Mapping[str, str] | None = None) -> bool:
    """Joins this process to the others of its run, once; call it before anything else touches a device.

    With FLAN_JAX_COORDINATOR (host:port of process 0), FLAN_JAX_PROCESSES and FLAN_JAX_PROCESS set, those say who is
    who. On a TPU pod, where the machine's own settings name several workers, JAX finds them. Otherwise nothing is done.

    Args:
      environment: what to read instead of `os.environ`.

    Returns:
      Whether the run has several processes.

    Raises:
      UserError: when only some of the three variables are set, or are not what they should be.
    """
    if jax.distributed.is_initialized():
        return True
    environment = os.environ if environment is None else environment
    given = {name: environment[name] for name in (COORDINATOR, PROCESSES, PROCESS) if environment.get(name)}
    if given:
        coordinator, processes, process = _explicit(given)
        if processes == 1:
            return False
        jax.distributed.initialize(coordinator, processes, process)
        return True
    if on_pod(environment):
        jax.distributed.initialize()
        return True
    return False


def wait(name: str) -> None:
    """Returns once every process of the run has come here; at once for a run of one.

    Args:
      name: the same in every process.
    """
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def of_first(number: int) -> int:
    """The number that the first process has, in every process of the run.

    Args:
      number: within 32 bits; each process may have another.
    """
    if jax.process_count() == 1:
        return number
    import numpy as np
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def on_pod(environment: Mapping[str, str]) -> bool:
    """Whether a TPU machine's settings name more than one worker or slice.

    >>> on_pod({"TPU_WORKER_HOSTNAMES": "t1k-w-0,t1k-w-1"})
    True
    >>> on_pod({"TPU_WORKER_HOSTNAMES": "localhost"})
    False
    """
    names = environment.get("TPU_WORKER_HOSTNAMES", "")
    # Without a TPU, libtpu puts a warning's text, commas and all, into this variable.
    workers = [name for name in names.split(",") if name.strip()] if " " not in names.strip() else []
    slices = environment.get("MEGASCALE_NUM_SLICES", "1")
    return len(workers) > 1 or (slices.isdigit() and int(slices) > 1)


def _explicit(given: Mapping[str, str]) -> tuple[str, int, int]:
    faults = [f"{name} is not set" for name in (COORDINATOR, PROCESSES, PROCESS) if name not in given]
    host, _, port = given.get(COORDINATOR, "").rpartition(":")
    if COORDINATOR in given and not (host and port.isdigit()):
        faults.append(f"{COORDINATOR} is {given[COORDINATOR]!r}, wanted host:port of process 0")
    numbers = {}
    for name, least in ((PROCESSES, 1), (PROCESS, 0)):
        value = given.get(name, "")
        if value.isdigit() and int(value) >= least:
            numbers[name] = int(value)
        elif name in given:
            faults.append(f"{name} is {value!r}, wanted a whole number of {least} or more")
    if len(numbers) == 2 and numbers[PROCESS] >= numbers[PROCESSES]:
        faults.append(f"{PROCESS} is {numbers[PROCESS]}, wanted less than {PROCESSES}, {numbers[PROCESSES]}")
    if faults:
        raise UserError(
            f"The processes of the run cannot be joined: {'; '.join(faults)}. Set {COORDINATOR}, {PROCESSES} and "
            f"{PROCESS} for every process, or none of them for a run of one."
        )
    return given[COORDINATOR], numbers[PROCESSES], numbers[PROCESS]
