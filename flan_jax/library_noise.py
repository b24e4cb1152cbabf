"""Keeps what libraries say to their own developers off the user's terminal.

A failed save on a full disk is told in one sentence of ours; Orbax, asyncio and TensorStore add a screen of tracebacks.
"""

import logging
import sys
import warnings
from typing import Any

_MUTED = ("absl", "asyncio")


def silence() -> None:
    """Mutes the log of these libraries in this process; call it before any of them is imported.

    Our own warnings, and those of other libraries, are still shown.
    """
    shown = logging.StreamHandler()
    shown.addFilter(lambda record: record.name not in _MUTED)
    logging.basicConfig(handlers=[shown], format="%(message)s", level=logging.WARNING)
    # A save that failed leaves coroutines of Orbax behind.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    sys.unraisablehook = _hook


def _hook(unraisable: Any) -> None:
    # A write of TensorStore's that ends after the save it belonged to has failed finds its event loop gone.
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)
