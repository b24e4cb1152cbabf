"""How a process of our own is started, so that it is of this very flan_jax."""

import pathlib
import sys

# Python's "-m" puts the caller's folder first. The user's modules are found by that; but the flan_jax of a clone that
# the user stands in is not the one that is installed, and has no mixtures in it.
_START = (
    "import runpy, sys; sys.path.insert(0, sys.argv[1]); import flan_jax; del sys.path[0]; "
    "runpy.run_module(sys.argv[2], run_name='__main__', alter_sys=True)"
)


def command(module: str) -> list[str]:
    """The command line that runs a module of flan_jax as its own process.

    Args:
      module: its dotted name.

    Returns:
      What `python -m MODULE` would do, but that flan_jax is this process's, wherever the caller stands.
    """
    return [sys.executable, "-c", _START, str(pathlib.Path(__file__).parents[1]), module]
