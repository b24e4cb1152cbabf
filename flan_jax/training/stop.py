"""Ctrl-C and SIGTERM as a request that the loop answers between two steps."""

import signal
from typing import Any


class StopRequest:
    """While entered, the first signal only sets `signal`; a second one interrupts at once.

    Attributes:
      signal: the number of the signal that came, None where none did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _frame: Any) -> None:
        if self:
            raise KeyboardInterrupt
        self.signal = number
