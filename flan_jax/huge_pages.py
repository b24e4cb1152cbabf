"""Huge pages for what glibc allocates: a step's buffers are then paged in by 2 MB, not 4 kB.

On two CPU cores the quickstart's step falls from 80 to 69 ms. With an accelerator the buffers are not the host's.
"""

import glob
import os
import sys

SETTING = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
_LONG = ("train", "sweep", "eval", "generate")
_ACCELERATORS = ("/dev/nvidia[0-9]*", "/dev/accel*", "/dev/vfio/[0-9]*", "/dev/kfd")  # GPUs and TPUs


def computes_on_cpu() -> bool:
    """Whether JAX will compute on the CPU, as far as that is known before it is imported."""
    asked = os.environ.get("JAX_PLATFORMS") or os.environ.get("JAX_PLATFORM_NAME") or ""
    if asked:
        return asked.split(",")[0].lower() == "cpu"
    return not any(glob.glob(pattern) for pattern in _ACCELERATORS)


def ask_for(command: str) -> None:
    """Starts the same command line anew with the setting, which glibc reads only when a process starts.

    Nothing is done for short commands, other systems, beside accelerators, or where GLIBC_TUNABLES is settled already.

    Args:
      command: the subcommand of `flan-jax`.
    """
    if command not in _LONG or sys.platform != "linux" or "GLIBC_TUNABLES" in os.environ or not computes_on_cpu():
        return
    os.environ.update(SETTING)
    os.execv(sys.executable, sys.orig_argv)
