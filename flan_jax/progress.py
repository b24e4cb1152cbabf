"""Shows how far long work is: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

import tqdm

_SILENCE = 20  # seconds without a line, where there is no terminal, before one is due anyhow


class Progress:
    """A bar where standard error is a terminal; otherwise a line now and then.

    Args:
      what: the line's first words.
      total: how much there is to do.
      start: how much was done before.
      unit: what is counted.
      every: without a terminal, a line each `every` units (and one at the end).
    """

    def __init__(self, what: str, total: int, start: int = 0, unit: str = "step", every: int = 100):
        self.what, self.total, self.done, self.unit, self.every = what, total, start, unit, max(1, every)
        self._began, self._start, self._said = time.monotonic(), start, start
        self._said_at = self._began
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(total=total, initial=start, desc=what, unit=unit, dynamic_ncols=True, leave=True)

    def update(self, done: int, **shown: Any) -> None:
        """Says that `done` of `total` is done; `shown` stands beside it, as "loss 1.23"."""
        if self._bar is not None:
            self._bar.update(done - self.done)
            self._bar.set_postfix_str(" ".join(f"{key} {value}" for key, value in shown.items()), refresh=False)
        self.done = done
        due = done - self._said >= self.every or (done >= self.total and done > self._said)
        if self._bar is None and (due or time.monotonic() - self._said_at > _SILENCE):
            self._said, self._said_at = done, time.monotonic()
            spent = time.monotonic() - self._began
            left = spent / max(1, done - self._start) * (self.total - done)
            facts = [f"{key} {value}" for key, value in shown.items()]
            self.line(f"{self.what} {done}/{self.total} {self.unit}s  " + "  ".join([*facts, f"left {clock(left)}"]))

    def line(self, text: str) -> None:
        """Prints a line without tearing the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WorkerProgress:
    """Shows the data process's reports; give an instance to `Worker(on_progress=...)`."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def __call__(self, report: dict[str, Any]) -> None:
        """Shows one report: {"what", "done", "total", "unit"}, perhaps "examples"."""
        what, done, total = report["what"], report["done"], report["total"]
        if self._bar is None or self._bar.what != what:
            self._close()
            self._bar = Progress(what, total, unit=report.get("unit", "item"), every=max(1, total // 4))
        self._bar.update(done, **({"examples": f"{report['examples']:,}"} if report.get("examples") else {}))
        if done >= total:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def clock(seconds: float) -> str:
    """A duration as people read it.

    >>> clock(75), clock(3725)
    ('1:15', '1:02:05')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
