"""What is written of each step, one step late so that the device is never waited for."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from flan_jax.progress import Progress
from flan_jax.training.finite import SkippedSteps
from flan_jax.training.metrics import MetricsWriter


class Logbook:
    """Holds the metrics of the step that was dispatched last, and writes them when the next one is under way.

    Args:
      writer: where rows go.
      bar: shows loss and speed.
      tasks: names of the plan's tasks, in its order.
      objectives: the objective of each.
      period: LOG_PERIOD; rows of these steps hold losses by task, by objective and by part, summed since the last one.
      last: the run's last step, which gets them too.
      skipped: counts the steps that were skipped, and ends the run when there are too many.
      parts: what part of the run each task is of ("instruction", "pretraining", "replay"), where they are told apart.
    """

    def __init__(
        self,
        writer: MetricsWriter,
        bar: Progress,
        tasks: Sequence[str],
        objectives: Sequence[str],
        period: int,
        last: int,
        skipped: SkippedSteps,
        parts: Sequence[str] = (),
    ):
        self.writer, self.bar, self.tasks, self.objectives = writer, bar, tasks, objectives
        self.period, self.last, self.skipped, self.parts = period, last, skipped, parts
        #: Loss and weight of each task since the last period; a checkpoint keeps it, so that a resumed sum is whole.
        self.task_sums = np.zeros((2, len(tasks)))
        self._pending: tuple[int, Any, int] | None = None
        self._began = time.perf_counter()

    def pause(self) -> None:
        """Leaves the time since the last step out of the speed: an eval or a save went between."""
        self._began = time.perf_counter()

    def add(self, step: int, metrics: Mapping[str, jax.Array], tokens: int) -> None:
        """Writes the step before, then holds this one.

        Args:
          step: the number of steps done with this one.
          metrics: on the device still; they are fetched when they are written.
          tokens: that this host's rows hold.

        Raises:
          NotFinite: too many steps in a row were skipped.
        """
        self.flush()
        self._pending = (step, metrics, tokens)

    def flush(self) -> None:
        """Writes the step that is held, waiting for it if need be; raises as `add` does."""
        if self._pending is None:
            return
        step, metrics, tokens = self._pending
        self._pending = None
        values = {name: np.asarray(value) for name, value in metrics.items()}
        now = time.perf_counter()
        speed, self._began = tokens * jax.process_count() / (now - self._began), now
        loss = values["loss_sum"] / np.maximum(values["weight_sum"], np.float32(1e-9))
        row: dict[str, Any] = {"loss": loss, "tokens_per_second": round(speed, 1)}
        row |= {name: values[name] for name in ("grad_norm", "learning_rate", "weight_sum", "trainable_tokens")}
        if "distillation_sum" in values:
            taught = np.maximum(values["distillation_weight_sum"], np.float32(1e-9))
            row["distillation_loss"] = values["distillation_sum"] / taught
        if tasks := self.skipped.count(step, values):
            row["skipped_tasks"] = tasks
            self.bar.line(self.skipped.line())
        else:  # what was not learnt from is in no sum
            self.task_sums += np.stack([values["task_loss_sum"], values["task_weight_sum"]])
        row["skipped_steps"] = self.skipped.total
        if step % self.period == 0 or step == self.last:
            row |= {"by_task": self._by(self.tasks), "by_objective": self._by(self.objectives)}
            row |= {"by_part": self._by(self.parts)} if self.parts else {}
            self.task_sums[:] = 0
        self.writer.write(step, row)
        self.bar.update(step, loss=f"{float(loss):.4f}", **{"tokens/s": f"{speed:,.0f}"})
        self.skipped.check()

    def _by(self, groups: Sequence[str]) -> dict[str, Any]:
        """Loss and weight of the groups that occurred."""
        sums: dict[str, np.ndarray] = {}
        for group, pair in zip(groups, self.task_sums.T, strict=True):
            sums[group] = sums.get(group, np.zeros(2)) + pair
        return {
            group: {"loss": float(loss / weight), "loss_sum": float(loss), "weight_sum": float(weight)}
            for group, (loss, weight) in sums.items()
            if weight > 0
        }
