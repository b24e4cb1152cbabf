"""How the inner loops of this folder are compiled."""

from typing import Any

import numba


def compiled(function: Any) -> Any:
    """Compiles a function at its first call and keeps the code on disk; runs without the interpreter's lock."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder to keep the compiled code in
        return numba.njit(nogil=True)(function)
