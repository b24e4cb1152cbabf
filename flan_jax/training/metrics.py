"""A run's figures: one row a step in a JSON lines file, and the same as TensorBoard events.

{"step": 500, "loss": 1.25, "tokens_per_second": 9000.5, ...}
{"step": 500, "scores": {"mean": 71.5, ...}}                       follows where the step was scored
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax.errors import UserError
from flan_jax.training.disk import full_disk_named


class MetricsWriter:
    """Writes `NAME.jsonl` and TensorBoard events in a run's folder; on one process of a run.

    Opening it cuts both to the step that was restored, so that after any number of kills the file holds every step
    once. Call `sync` before a checkpoint is committed: the rows of a restored step are then there.
    """

    def __init__(self, folder: str | os.PathLike[str], start_step: int, name: str = "metrics"):
        """Opens the files, without the rows after `start_step`.

        Args:
          folder: the run's folder, made if missing.
          start_step: steps done so far: 0 for a fresh run, else the restored step. Rows up to it stay.
          name: of the JSON lines file; another writer in the same folder needs another name.

        Raises:
          UserError: a row in the file's middle is not JSON, or the disk is full.
        """
        from tensorboardX import SummaryWriter

        self._folder = Path(folder)
        self.path = self._folder / f"{name}.jsonl"
        with full_disk_named(folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._last = max((start_step, False), _cut(self.path, start_step))
            self._file = self.path.open("a", encoding="utf-8")
            # A file's own name has seconds only: two starts within one would write over each other.
            self._events = SummaryWriter(
                str(self._folder / "tensorboard"),
                purge_step=start_step + 1,
                filename_suffix=f".{name}.{start_step}.{os.getpid()}",
            )

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Adds the row of a step.

        Args:
          step: the number of steps done, above that of the row before.
          values: scalars, arrays, strings or mappings of these. float32 values read back bit for bit; NaN becomes null.
            Nested numbers go to TensorBoard as "outer/inner"; strings, arrays and what is not finite to the file alone.

        Raises:
          ValueError: the step was written before.
          UserError: the disk is full.
        """
        if step <= self._last[0]:
            raise ValueError(
                f"The row of step {step} comes after that of step {self._last[0]}; each step is written once."
            )
        self._write(step, {name: value for name, value in values.items() if name != "step"})
        self._last = (step, False)

    def write_scores(self, step: int, scores: Mapping[str, Any]) -> None:
        """Adds the row of a step's scores; one that a killed run has written already stays as it is.

        Args:
          step: the step that was written last, or 0 before the first.
          scores: as `write` takes them.

        Raises:
          ValueError: a later step was written.
          UserError: the disk is full.
        """
        if step < self._last[0]:
            raise ValueError(f"The scores of step {step} come after the row of step {self._last[0]}.")
        if self._last < (step, True):
            self._write(step, {"scores": scores})
            self._last = (step, True)
            self.sync()

    def _write(self, step: int, values: Mapping[str, Any]) -> None:
        row = {"step": step} | {name: _plain(value) for name, value in values.items()}
        with full_disk_named(self._folder):
            self._file.write(json.dumps(row, allow_nan=False, separators=(", ", ": ")) + "\n")
            self._file.flush()  # for those who watch; only `sync` makes sure of the disk
            for tag, number in _scalars({name: value for name, value in row.items() if name != "step"}):
                self._events.add_scalar(tag, number, step)

    def sync(self) -> None:
        """Returns once every row is on the disk.

        Raises:
          UserError: the disk is full.
        """
        with full_disk_named(self._folder):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._events.flush()

    def close(self) -> None:
        """Syncs and closes; further calls do nothing."""
        if not self._file.closed:
            self.sync()
            self._file.close()
            self._events.close()


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Reads the rows that `MetricsWriter` wrote, NaN and infinities as floats again; a torn last line is left out.

    Raises:
      UserError: a row that is not JSON, by file and line; or a folder.
    """
    return [_numbers(row) for _, row in _rows(Path(path))]


def _rows(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The whole lines of a file and what they say; the last one may lack its end and is then dropped."""
    try:
        lines = path.read_bytes().split(b"\n")
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, wanted a file of metrics: move it away.") from None
    for number, line in enumerate(lines[:-1], 1):
        try:
            row = json.loads(line)
            row["step"] + 0
        except (ValueError, TypeError, KeyError, RecursionError):
            if number == len(lines) - 1:
                return
            raise UserError(
                f"{path}:{number} is not a row of metrics (a JSON object with a step): "
                "delete the line, or move the file away."
            ) from None
        yield line, row


def _cut(path: Path, start_step: int) -> tuple[int, bool]:
    """Leaves the rows of steps up to `start_step`, each once, by writing the file anew beside itself.

    Returns:
      The step of the last row that stays, and whether it holds scores.
    """
    kept, last = [], (-1, False)
    if not path.exists():
        return last
    for line, row in _rows(path):
        at = (row["step"], "scores" in row)
        if last < at and row["step"] <= start_step:
            kept.append(line + b"\n")
            last = at
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.writelines(kept)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return last


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    array = np.asarray(value)
    if array.ndim:
        return [_plain(inner) for inner in array]
    if array.dtype == np.bool_:
        return bool(array)
    if np.issubdtype(array.dtype, np.integer):
        return int(array)
    number = float(array)
    if math.isnan(number):
        return None
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if array.dtype == np.float32:
        # The shortest digits that tell this float32 from its neighbours; they pass through a double on reading.
        short = float(str(np.float32(array)))
        return short if np.float32(short) == np.float32(array) else number
    return number


def _numbers(value: Any) -> Any:
    """The inverse of `_plain`, as far as JSON keeps types."""
    if value is None:
        return math.nan
    if isinstance(value, dict):
        return {name: _numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_numbers(inner) for inner in value]
    return {"Infinity": math.inf, "-Infinity": -math.inf}.get(value, value) if isinstance(value, str) else value


def _scalars(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, value
