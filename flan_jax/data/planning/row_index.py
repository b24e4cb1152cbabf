"""Which window holds a row of the run: cumulative rows by window, 8 bytes each, found by binary search."""

import contextlib
import os
import pathlib

import numpy as np

from flan_jax.data.planning.order import mix
from flan_jax.data.planning.plan import LengthsOf, Plan, Rows
from flan_jax.errors import UserError

_CHECK_BITS = 16
_ENTRY = 3  # what the hash is for; the plan has its own


class RowIndex:
    """Cumulative rows by window; grows as windows become known and can always be computed anew.

    Its file holds 8 bytes a window, at 8 times the window's number: the rows of the windows up to and with it in the
    lower 48 bits, a check of (plan, window, rows) in the upper 16. So an entry is right by itself or not at all: what
    is torn, garbage, another plan's or was never written is computed anew, and several hosts may write one file.

    Args:
      plan: the plan.
      lengths_of: see `Plan.rows`.
      path: a file that keeps what is known between runs; None keeps it in memory.
      anchor: (window, rows_before), from a `state` of this plan, where the file may be gone: windows from there on are
        found without those before.
    """

    def __init__(
        self,
        plan: Plan,
        lengths_of: LengthsOf,
        path: str | os.PathLike | None = None,
        anchor: tuple[int, int] | None = None,
    ):
        self.plan, self.lengths_of = plan, lengths_of
        self.path = None if path is None else pathlib.Path(path)
        self._ends = self._read()  # -1 where a window is not known
        self._kept: dict[int, Rows] = {}
        self._at: tuple[int, int, Rows] | None = None  # the window last located: its first row, the next one's, itself
        if anchor is not None:
            self.anchor(*anchor)

    def anchor(self, window: int, rows_before: int) -> None:
        """Takes a window's first row as known; see `state`."""
        if window > 0:
            if self._known(window - 1) not in (-1, rows_before):
                self._ends = np.zeros(0, np.int64)  # the file is another run's; the checkpoint is sure
                if self.path is not None:
                    with contextlib.suppress(OSError):
                        self.path.unlink()
                self._at = None
            self._set(window - 1, rows_before)

    def window(self, window: int) -> Rows:
        """The rows of a window; the last two are kept."""
        if window not in self._kept:
            while len(self._kept) > 1:
                self._kept.pop(min(self._kept))
            self._kept[window] = self.plan.rows(window, self.lengths_of)
        return self._kept[window]

    def end(self, window: int) -> int:
        """How many rows the windows up to and with this one hold."""
        if window < 0:
            return 0
        if self._known(window) < 0:
            below = np.flatnonzero(self._ends[:window] >= 0)
            start = int(below[-1]) + 1 if len(below) else 0
            total = self.end(start - 1)
            for w in range(start, window + 1):
                total += len(self.window(w))
                self._set(w, total)
                self._write(w, total)
        return int(self._ends[window])

    def locate(self, row: int) -> tuple[Rows, int]:
        """The window that holds the run's row number `row`, and its place there.

        Raises:
          UserError: the index or its anchor belongs to other stores than those that are read.
        """
        if self._at is None or not self._at[0] <= row < self._at[1]:
            window, start = self._boundary(row)
            while self.end(window) <= row:
                window, start = window + 1, self.end(window)
            rows, said = self.window(window), self.end(window) - start
            if len(rows) != said:
                raise UserError(
                    f"window {window} of the plan has {len(rows)} rows, {self.path or 'the checkpoint'} says {said}: "
                    f"the stores are not those that the run was trained on; prepare them with the same data, or take "
                    f"another --run_dir"
                )
            self._at = start, start + said, rows
        return self._at[2], row - self._at[0]

    def state(self, step: int, batch_size: int) -> dict[str, int]:
        """What a checkpoint keeps to go on from `step` at once, without the index: {"step", "window", "rows_before"}.

        The last two are an anchor: a window that starts at or before the step's first row, and the rows before it.
        """
        window, rows_before = self._boundary(step * batch_size)
        return {"step": step, "window": window, "rows_before": rows_before}

    def rows_in(self, epochs: float) -> int:
        """Rows that `epochs` epochs of the mixture fill."""
        windows = self.plan.windows_of(epochs)
        whole = int(windows + 1e-9)
        done = self.end(whole - 1)
        rest = windows - whole
        return done + (round(rest * (self.end(whole) - done)) if rest > 1e-9 else 0)

    def _boundary(self, row: int) -> tuple[int, int]:
        """The last window known to start at or before a row, and the rows before it."""
        known = np.flatnonzero(self._ends >= 0)
        place = int(np.searchsorted(self._ends[known], row, side="right"))
        return (int(known[place - 1]) + 1, int(self._ends[known[place - 1]])) if place else (0, 0)

    def _known(self, window: int) -> int:
        return int(self._ends[window]) if window < len(self._ends) else -1

    def _set(self, window: int, rows: int) -> None:
        if window >= len(self._ends):
            more = np.full(max(window + 1, 2 * len(self._ends), 64), -1)
            more[: len(self._ends)] = self._ends
            self._ends = more
        self._ends[window] = rows

    def _check(self, windows: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return mix(int(self.plan.fingerprint, 16), _ENTRY, windows, rows) >> np.uint64(64 - _CHECK_BITS)

    def _read(self) -> np.ndarray:
        try:
            raw = np.fromfile(self.path, "<u8") if self.path else np.zeros(0, np.uint64)
        except OSError:
            raw = np.zeros(0, np.uint64)
        rows = (raw & np.uint64(2 ** (64 - _CHECK_BITS) - 1)).astype(np.int64)
        rows[(self._check(np.arange(len(rows)), rows) != raw >> np.uint64(64 - _CHECK_BITS)) | (raw == 0)] = -1
        return rows if (np.diff(rows[rows >= 0]) >= 0).all() else np.zeros(0, np.int64)

    def _write(self, window: int, rows: int) -> None:
        if self.path is None:
            return
        entry = int(self._check(np.array(window), np.array(rows))) << (64 - _CHECK_BITS) | rows
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                os.pwrite(file, entry.to_bytes(8, "little"), 8 * window)
            finally:
                os.close(file)
        except OSError:
            self.path = None  # someone else's folder, or a full disk: what it would say is kept in memory
